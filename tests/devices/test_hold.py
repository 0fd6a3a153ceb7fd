from __future__ import annotations

import os
from pathlib import Path

import pytest

from mftasks import devices
from mftasks.errors import InvalidPlan, NoDeviceFree
from mftasks.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "0")  # it is put back after the test
    return Settings(cpu_slots=2, leases=tmp_path / "leases", device_wait_seconds=0)


def test_a_training_on_the_cpu_holds_its_slots_and_sees_no_gpu(settings: Settings) -> None:
    with devices.hold("cpu", 2, settings, holder="a") as held:
        assert [device.id for device in held] == ["0", "1"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
        with (
            pytest.raises(NoDeviceFree, match="cpu 0 is held by a"),
            devices.hold("auto", 1, settings, holder="b"),
        ):
            pass
    with devices.hold("auto", 1, settings, holder="b") as held:
        assert [device.id for device in held] == ["0"]


def test_what_can_never_be_held_is_not_waited_for(settings: Settings) -> None:
    with (
        pytest.raises(InvalidPlan, match="devices 3"),
        devices.hold("cpu", 3, settings, holder="a"),
    ):
        pass
