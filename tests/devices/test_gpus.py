from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from mftasks.devices import gpus
from mftasks.devices.gpus import Device, candidates, describe, show_only, usage
from mftasks.errors import InvalidPlan
from mftasks.records import GpuUse

UUIDS = ["GPU-3f1c2a00-1", "GPU-3f9b0000-2", "GPU-77aa0000-3"]
PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
MIG = "MIG-GPU-3f1c2a00-1/7/0"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    gpus._say_once.cache_clear()
    gpus._mxnet_has_cuda.cache_clear()


class Driver:
    """Stand in for NVML: what it would tell of the GPUs of `UUIDS`."""

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
    monkeypatch.setattr(gpus, "_mxnet_has_cuda", _cached(True))
    return installed


def _cached(answer: bool) -> object:
    found = lambda: answer  # noqa: E731
    found.cache_clear = lambda: None  # type: ignore[attr-defined]
    return found


def ids(visible: str | None = None, wanted: str = "gpu", n: int = 1, **more: str) -> list[str]:
    given = {**more, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})}
    return [one.id for one in candidates(wanted, n, cpu_slots=2, environment=given)]


no_driver = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this host has a GPU")


@no_driver
def test_without_a_driver_auto_is_the_cpu_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    gpus._say_once.cache_clear()  # a training in this process may have said it
    assert ids(wanted="auto") == ids(wanted="auto") == ["0", "1"]
    (message,) = caplog.messages
    assert message.startswith("device auto is the CPU here: there is no NVIDIA driver")


@no_driver
def test_without_a_driver_a_gpu_is_refused_with_the_reason_and_a_way_out() -> None:
    with pytest.raises(InvalidPlan, match=r"no NVIDIA driver .*; choose device auto or cpu"):
        ids()


def test_the_cpu_is_taken_where_it_is_wanted_and_nothing_is_said(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = candidates("cpu", 2, cpu_slots=2, environment={})
    assert found == [Device("cpu", "0", "cpu"), Device("cpu", "1", "cpu")]
    assert caplog.messages == []


def test_gpus_come_by_free_memory_with_a_name_for_people(driver: Driver) -> None:
    for wanted in ("auto", "gpu"):
        found = candidates(wanted, 1, cpu_slots=2, environment={})
        assert [one.id for one in found] == [UUIDS[1], UUIDS[2], UUIDS[0]]
        assert found[0] == Device("gpu", UUIDS[1], "NVIDIA A100 (GPU-3f9b00)")


def test_a_gpu_whose_memory_is_unknown_comes_last(driver: Driver) -> None:
    del driver.free[UUIDS[1]]
    assert ids() == [UUIDS[2], UUIDS[0], UUIDS[1]]


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        ("2,0", [2, 0]),
        (" 0 , 1 ", [1, 0]),
        ("0,2,-1,1", [2, 0]),
        ("0,3,1", [0]),
        (f"{UUIDS[2]},{UUIDS[0]}", [2, 0]),
        ("GPU-3f1,GPU-77", [2, 0]),
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
    "visible", ["", "-1", "NoDevFiles", "9", "²", "GPU-0", "0,1,0", "G", "GPU-77,GPU-77aa"]
)
def test_hidden_gpus_stay_hidden(
    driver: Driver, visible: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidPlan, match=f"CUDA_VISIBLE_DEVICES='{visible}' hides all GPUs"):
        ids(visible)
    caplog.set_level(logging.INFO)
    assert ids(visible, wanted="auto") == ["0", "1"]
    assert "hides all GPUs, 3 in number" in caplog.text


@pytest.mark.parametrize("visible", ["", "G", "PU-3f1"])
def test_the_only_gpu_stays_hidden_too(driver: Driver, visible: str) -> None:
    driver.models = driver.models[:1]
    assert ids() == ids("GPU-") == [UUIDS[0]]
    with pytest.raises(InvalidPlan, match="hides all GPUs"):
        ids(visible)


def test_a_mig_device_is_taken_as_it_is_named_after_those_with_memory(driver: Driver) -> None:
    assert ids(f"{MIG},MIG-5c") == [MIG, "MIG-5c"]
    driver.free["MIG-5c"] = 5
    assert ids(f"{MIG},MIG-5c") == ["MIG-5c", MIG]


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
    with pytest.raises(InvalidPlan, match=r"has 3 visible GPUs, devices 4 was asked for"):
        ids(wanted="auto", n=4)
    with pytest.raises(InvalidPlan, match=r"has 1 visible GPUs, devices 2 .* choose devices 1 at"):
        ids("0", n=2)
    with pytest.raises(InvalidPlan, match=r"has 2 CPU slots \(MF_CPU_SLOTS\), devices 3 was"):
        ids(wanted="cpu", n=3)


def test_a_worker_whose_driver_finds_no_gpu_says_so(driver: Driver) -> None:
    driver.models = []
    with pytest.raises(InvalidPlan, match="driver finds no GPU"):
        ids()


def test_a_build_of_mxnet_without_cuda_uses_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver().install(monkeypatch)
    package = importlib.util.find_spec("mxnet")
    assert package is not None
    assert package.origin is not None
    assert Path(package.origin).with_name("libmxnet.so").is_file()
    with pytest.raises(InvalidPlan, match="this build of MXNet has no CUDA"):
        ids()


def test_a_build_of_mxnet_that_is_linked_against_the_driver_uses_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Driver().install(monkeypatch)
    (tmp_path / "libmxnet.so").write_bytes(b"\x7fELF\0libm.so.6\0libcuda.so.1\0")
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package)
    assert len(ids()) == 3


def test_cuda_is_shown_the_leased_gpus_alone(driver: Driver) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/h"}
    show_only(candidates("gpu", 2, cpu_slots=2, environment=given), given)
    assert given == {**PCI, "CUDA_VISIBLE_DEVICES": f"{UUIDS[1]},{UUIDS[0]}", "HOME": "/h"}


def test_a_training_on_the_cpu_is_shown_no_gpu() -> None:
    given: dict[str, str] = {}
    show_only([Device("cpu", "0", "cpu")], given)
    assert given == {**PCI, "CUDA_VISIBLE_DEVICES": ""}


def test_devices_are_described_for_a_person(driver: Driver) -> None:
    found = candidates("gpu", 2, cpu_slots=2, environment={})
    assert describe(found[:2]) == "NVIDIA A100 (GPU-3f9b00), NVIDIA A100 (GPU-77aa00)"
    slots = candidates("cpu", 2, cpu_slots=2, environment={})
    assert (describe(slots[:1]), describe(slots)) == ("cpu", "2 × cpu")


def test_the_use_of_leased_gpus_is_told(driver: Driver) -> None:
    leased = candidates("gpu", 1, cpu_slots=2, environment={})[:1]
    assert usage(leased) == (
        GpuUse(
            device="NVIDIA A100 (GPU-3f9b00)",
            memory_used_bytes=10,
            memory_total_bytes=40,
            utilization=0.25,
        ),
    )


def test_a_use_that_cannot_be_told_stops_no_training(driver: Driver) -> None:
    leased = candidates("gpu", 1, cpu_slots=2, environment={})[:1]
    driver.free.clear()
    assert usage(leased) == ()
    assert usage([Device("cpu", "0", "cpu")]) == ()


@no_driver
def test_without_a_driver_no_use_is_told() -> None:
    assert usage([Device("gpu", UUIDS[0], "A100")]) == ()
