from __future__ import annotations

import importlib.metadata
import logging
import re
from types import SimpleNamespace

import pynvml
import pytest

from mftasks.devices import gpus
from mftasks.devices.gpus import Device, by_free_memory, candidates, describe, show_only, usage
from mftasks.errors import DeviceUnavailable, InvalidPlan
from mftasks.records import GpuUse

UUIDS = ["GPU-3f1c2a00-1", "GPU-3f9b0000-2", "GPU-77aa0000-3"]
PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
MIG = "MIG-GPU-3f1c2a00-1/7/0"


class Driver:
    """A stand-in for NVML, with the GPUs of `UUIDS`."""

    def __init__(self) -> None:
        self.models = ["NVIDIA A100"] * 3
        self.free = {UUIDS[0]: 10, UUIDS[1]: 30, UUIDS[2]: 20}

    def memory(self, uuid: str) -> SimpleNamespace:
        if uuid not in self.free:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return SimpleNamespace(free=self.free[uuid], used=40 - self.free[uuid], total=40)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A handle is the UUID itself.
        for name, answer in {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: len(self.models),
            "nvmlDeviceGetHandleByIndex": lambda number: UUIDS[number],
            "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
            "nvmlDeviceGetUUID": lambda handle: handle,
            "nvmlDeviceGetName": lambda handle: self.models[UUIDS.index(handle)],
            "nvmlDeviceGetMemoryInfo": self.memory,
            "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=25),
        }.items():
            monkeypatch.setattr(pynvml, name, answer)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    installed = Driver()
    installed.install(monkeypatch)
    monkeypatch.setattr(gpus, "_mxnet_has_cuda", lambda: True)
    return installed


@pytest.fixture
def failing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Give a driver that was updated under a running host: NVML no longer fits the kernel module."""

    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    return driver


def ids(visible: str | None = None, wanted: str = "gpu", n: int = 1, **more: str) -> list[str]:
    given = {**more, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})}
    return [one.id for one in candidates(wanted, n, cpu_slots=2, environment=given)]


def test_without_a_build_for_cuda_auto_is_the_cpu_and_the_log_has_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert ids(wanted="auto") == ["0", "1"]
    assert caplog.messages == ["device auto is the CPU here: MXNet is built without CUDA"]


def test_without_a_build_for_cuda_a_gpu_is_refused_with_the_reason_and_a_way_out() -> None:
    with pytest.raises(InvalidPlan, match=r"built without CUDA; choose device auto or cpu"):
        ids()


@pytest.mark.parametrize(
    ("package", "has_cuda"), [("mxnet-cu117", True), ("mxnet", False), ("numpy", False)]
)
def test_a_build_for_cuda_is_known_by_its_package(
    package: str, has_cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = [SimpleNamespace(name=None), SimpleNamespace(name=package)]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: installed)
    assert gpus._mxnet_has_cuda.__wrapped__() is has_cuda


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
def test_a_driver_that_fails_sends_no_training_to_the_cpu_and_is_worth_a_retry(
    wanted: str, failing: Driver
) -> None:
    with pytest.raises(DeviceUnavailable, match=r"does not answer \(.*[Mm]ismatch.*nvidia-smi"):
        ids(wanted=wanted)
    assert DeviceUnavailable.retryable
    assert ids(wanted="cpu") == ["0", "1"]


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
def test_a_driver_that_finds_no_gpu_sends_no_training_to_the_cpu(
    wanted: str, driver: Driver
) -> None:
    driver.models = []
    with pytest.raises(DeviceUnavailable, match="driver finds no GPU"):
        ids(wanted=wanted)


def test_a_build_without_cuda_does_not_need_the_driver(
    failing: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "_mxnet_has_cuda", lambda: False)
    assert ids(wanted="auto") == ["0", "1"]


def test_the_cpu_is_taken_if_it_is_wanted_and_nothing_is_logged(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = candidates("cpu", 2, cpu_slots=2, environment={})
    assert found == [Device("cpu", "0", "cpu"), Device("cpu", "1", "cpu")]
    assert caplog.messages == []


def test_gpus_have_a_name_for_people(driver: Driver) -> None:
    for wanted in ("auto", "gpu"):
        found = candidates(wanted, 1, cpu_slots=2, environment={})
        assert [one.id for one in found] == UUIDS
        assert found[1] == Device("gpu", UUIDS[1], "NVIDIA A100 (GPU-3f9b00)")


def test_the_most_free_memory_comes_first_and_unknown_memory_last(driver: Driver) -> None:
    found = candidates("gpu", 1, cpu_slots=2, environment={})
    assert by_free_memory(found) == [found[1], found[2], found[0]]
    del driver.free[UUIDS[1]]
    assert by_free_memory(found) == [found[2], found[0], found[1]]
    slots = [Device("cpu", str(slot), "cpu") for slot in range(3)]
    assert by_free_memory(slots) == slots


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        ("2,0", [2, 0]),
        (" 0 , 1 ", [0, 1]),
        ("0,2,-1,1", [0, 2]),
        ("0,3,1", [0]),
        (f"{UUIDS[2]},{UUIDS[0]}", [2, 0]),
        ("GPU-3f1,GPU-77", [0, 2]),
        ("GPU-3F1C2A, GPU-77AA", [0, 2]),
        ("GPU-77,GPU-3f,GPU-3f1", [2]),  # two begin with GPU-3f
        ("0,GPU-77", [0]),
        ("GPU-77,0", [2]),
        ("0,,1", [0]),
    ],
)
def test_what_is_visible_is_read_as_cuda_reads_it(
    driver: Driver, visible: str, numbers: list[int]
) -> None:
    assert ids(visible) == [UUIDS[number] for number in numbers]


@pytest.mark.parametrize(
    "visible",
    [
        *("", "-1", "+0", "0x0", "0abc", "0.5", "NoDevFiles", "9", "²", "0,1,0"),
        *("G", "GPU-", "GPU-0", "GPU-,GPU-77", "GPU-77,GPU-77AA"),
    ],
)
def test_hidden_gpus_stay_hidden(
    driver: Driver, visible: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        InvalidPlan, match=rf"CUDA_VISIBLE_DEVICES='{re.escape(visible)}' hides all GPUs"
    ):
        ids(visible)
    caplog.set_level(logging.INFO)
    assert ids(visible, wanted="auto") == ["0", "1"]
    assert "hides all GPUs of this worker (3)" in caplog.text


@pytest.mark.parametrize("visible", ["", "G", "GPU-", "PU-3f1"])
def test_the_only_gpu_stays_hidden_too(driver: Driver, visible: str) -> None:
    driver.models = driver.models[:1]
    assert ids() == ids("GPU-3") == [UUIDS[0]]
    with pytest.raises(InvalidPlan, match="hides all GPUs"):
        ids(visible)


def test_a_mig_device_is_taken_as_it_is_named(driver: Driver) -> None:
    assert ids(f"{MIG},MIG-5c") == [MIG, "MIG-5c"]


def test_indexes_need_a_known_order_where_gpus_differ(driver: Driver) -> None:
    driver.models[2] = "NVIDIA T4"
    for wanted in ("auto", "gpu"):
        with pytest.raises(
            InvalidPlan,
            match=r"differ \(NVIDIA A100, NVIDIA T4\); set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs",
        ):
            ids("1", wanted)
    assert ids("1", **PCI) == [UUIDS[1]]
    assert ids(UUIDS[2]) == [UUIDS[2]]
    assert len(ids()) == 3


def test_more_devices_than_there_are_can_never_be_had(driver: Driver) -> None:
    with pytest.raises(
        InvalidPlan, match=r"devices 4: this worker has 3 visible GPUs; choose devices 3 or"
    ):
        ids(wanted="auto", n=4)
    with pytest.raises(InvalidPlan, match=r"devices 2: this worker has 1 visible GPUs"):
        ids("0", n=2)
    with pytest.raises(InvalidPlan, match=r"devices 3: .* has 2 CPU slots \(MF_CPU_SLOTS\)"):
        ids(wanted="cpu", n=3)


def test_cuda_is_shown_the_leased_gpus_alone(driver: Driver) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/h"}
    show_only(by_free_memory(candidates("gpu", 2, cpu_slots=2, environment=given)), given)
    assert given == {**PCI, "CUDA_VISIBLE_DEVICES": f"{UUIDS[1]},{UUIDS[0]}", "HOME": "/h"}


def test_a_training_on_the_cpu_is_shown_no_gpu() -> None:
    given: dict[str, str] = {}
    show_only([Device("cpu", "0", "cpu")], given)
    assert given == {**PCI, "CUDA_VISIBLE_DEVICES": ""}


def test_devices_are_described_for_a_person(driver: Driver) -> None:
    found = candidates("gpu", 2, cpu_slots=2, environment={})
    assert describe(found[:2]) == "NVIDIA A100 (GPU-3f1c2a), NVIDIA A100 (GPU-3f9b00)"
    slots = candidates("cpu", 2, cpu_slots=2, environment={})
    assert (describe(slots[:1]), describe(slots)) == ("cpu", "2 × cpu")


def test_the_use_of_leased_gpus_is_reported(driver: Driver) -> None:
    leased = candidates("gpu", 1, cpu_slots=2, environment={})[:1]
    assert usage(leased) == (
        GpuUse(
            device="NVIDIA A100 (GPU-3f1c2a)",
            memory_used_bytes=30,
            memory_total_bytes=40,
            utilization=0.25,
        ),
    )


def test_a_use_that_cannot_be_read_stops_no_training(driver: Driver) -> None:
    leased = candidates("gpu", 1, cpu_slots=2, environment={})[:1]
    driver.free.clear()
    assert usage(leased) == ()
    assert usage([Device("cpu", "0", "cpu")]) == ()


def test_without_a_driver_no_use_is_reported() -> None:
    assert usage([Device("gpu", UUIDS[0], "A100")]) == ()
