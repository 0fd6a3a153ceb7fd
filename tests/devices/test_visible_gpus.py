from __future__ import annotations

import logging
import re

import pytest

from mftasks.devices.gpus import Device, by_free_memory, candidates, show_only
from mftasks.errors import InvalidPlan
from tests.devices.driver import UUIDS, Driver, ids

PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
MIG = "MIG-GPU-3f1c2a00-1/7/0"


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


def test_cuda_is_shown_the_leased_gpus_alone(driver: Driver) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/h"}
    show_only(by_free_memory(candidates("gpu", 2, cpu_slots=2, environment=given)), given)
    assert given == {**PCI, "CUDA_VISIBLE_DEVICES": f"{UUIDS[1]},{UUIDS[0]}", "HOME": "/h"}


def test_a_training_on_the_cpu_is_shown_no_gpu() -> None:
    given: dict[str, str] = {}
    show_only([Device("cpu", "0", "cpu")], given)
    assert given == {**PCI, "CUDA_VISIBLE_DEVICES": ""}
