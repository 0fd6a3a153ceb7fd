"""A stand-in for NVIDIA's driver."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from mftasks.devices.gpus import candidates

UUIDS = ["GPU-3f1c2a00-1", "GPU-3f9b0000-2", "GPU-77aa0000-3"]


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


def ids(visible: str | None = None, wanted: str = "gpu", n: int = 1, **more: str) -> list[str]:
    given = {**more, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})}
    return [one.id for one in candidates(wanted, n, cpu_slots=2, environment=given)]
