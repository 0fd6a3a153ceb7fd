from __future__ import annotations

import importlib.metadata
import logging
from types import SimpleNamespace

import pytest

from mftasks.devices import gpus
from mftasks.devices.gpus import Device, by_free_memory, candidates, describe, usage
from mftasks.errors import DeviceUnavailable, InvalidPlan
from mftasks.records import GpuUse
from tests.devices.driver import UUIDS, Driver, ids


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


def test_more_devices_than_there_are_can_never_be_had(driver: Driver) -> None:
    with pytest.raises(
        InvalidPlan, match=r"devices 4: this worker has 3 visible GPUs; choose devices 3 or"
    ):
        ids(wanted="auto", n=4)
    with pytest.raises(InvalidPlan, match=r"devices 2: this worker has 1 visible GPUs"):
        ids("0", n=2)
    with pytest.raises(InvalidPlan, match=r"devices 3: .* has 2 CPU slots \(MF_CPU_SLOTS\)"):
        ids(wanted="cpu", n=3)


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
