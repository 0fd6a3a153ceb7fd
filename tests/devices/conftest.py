from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest

from mftasks.devices import gpus
from tests.devices.driver import Driver
from tests.devices.holders import Holder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Holder]]:
    with contextlib.ExitStack() as started:

        def start_one(name: str, n: int = 1, slots: int = 1, do: str = "wait") -> Holder:
            holder = Holder(folder, name, n, slots, do)
            started.enter_context(holder.process)
            started.callback(holder.process.kill)
            return holder

        yield start_one


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
