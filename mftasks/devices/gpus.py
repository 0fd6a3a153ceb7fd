"""Which devices this process may use, the best first, and how busy a GPU is.

GPUs are found with NVML, which makes no CUDA context on them and needs no MXNet. Here a device is
only named: `leases` holds it, then `show_only` hides all others, before MXNet is imported.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import logging
import mmap
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mftasks.errors import InvalidPlan
from mftasks.records import DeviceKind, GpuUse

log = logging.getLogger(__name__)

ORDER, VISIBLE = "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"


class Device(NamedTuple):
    """Name a device: `id` is a GPU's UUID or a CPU slot's number, `name` is what a person reads."""

    kind: Literal["cpu", "gpu"]
    id: str
    name: str


class _Gpu(NamedTuple):
    device: Device
    model: str
    free_bytes: int


def candidates(
    wanted: DeviceKind, n: int, *, cpu_slots: int, environment: Mapping[str, str]
) -> list[Device]:
    """Return the devices of which a training may take `n`: GPUs by free memory, or CPU slots.

    `auto` means GPUs where MXNet can use one, else CPU slots. Never widens an inherited
    CUDA_VISIBLE_DEVICES. Raises `InvalidPlan` where this worker can never give what is wanted.
    """
    gpus, lack = ([], "") if wanted == "cpu" else _gpus(environment)
    if wanted == "gpu" and not gpus:
        raise InvalidPlan(
            f"device gpu: {lack}; choose device auto or cpu, or a worker with a GPU that MXNet can use"
        )
    if wanted == "auto" and not gpus:
        _say_once(f"device auto is the CPU here: {lack}")
    found = gpus or [Device("cpu", str(slot), "cpu") for slot in range(cpu_slots)]
    if len(found) < n:
        kind = "visible GPUs" if gpus else "CPU slots (MF_CPU_SLOTS)"
        raise InvalidPlan(
            f"this worker has {len(found)} {kind}, devices {n} was asked for; "
            f"choose devices {len(found)} at most, or a worker that has more"
        )
    return found


def show_only(leased: Sequence[Device], environment: MutableMapping[str, str]) -> None:
    """Let CUDA see the leased GPUs alone, in their order; none where CPU slots were leased."""
    environment[ORDER] = "PCI_BUS_ID"
    environment[VISIBLE] = ",".join(device.id for device in leased if device.kind == "gpu")


def describe(leased: Sequence[Device]) -> str:
    """Return the devices as a person reads them: `NVIDIA A100 (GPU-3f1c2a)`, `2 × cpu`."""
    counts = Counter(device.name for device in leased)
    return ", ".join(name if n == 1 else f"{n} × {name}" for name, n in counts.items())


def usage(leased: Sequence[Device]) -> tuple[GpuUse, ...]:
    """Return how busy the leased GPUs are; () for CPU slots, and where NVML does not tell."""
    gpus = [device for device in leased if device.kind == "gpu"]
    if not gpus:
        return ()
    import pynvml

    try:
        nvml = _nvml()
        return tuple(_use(nvml, device) for device in gpus)
    except pynvml.NVMLError:
        return ()


def _gpus(environment: Mapping[str, str]) -> tuple[list[Device], str]:
    """Return the GPUs that MXNet can use, most free memory first; where none, why."""
    import pynvml

    try:
        nvml = _nvml()
        present = [_gpu(nvml, number) for number in range(nvml.nvmlDeviceGetCount())]
        visible = _visible(nvml, present, environment)
    except pynvml.NVMLError as error:
        return [], f"there is no NVIDIA driver that answers ({error})"
    if not present:
        return [], "the NVIDIA driver finds no GPU"
    if not visible:
        return [], f"{VISIBLE}={environment[VISIBLE]!r} hides all GPUs, {len(present)} in number"
    if not _mxnet_has_cuda():
        return [], "this build of MXNet has no CUDA"
    visible.sort(key=lambda gpu: -gpu.free_bytes)
    return [gpu.device for gpu in visible], ""


def _nvml() -> Any:
    """Return NVML, started; it stays so until the process ends, as starting may take a second."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _gpu(nvml: Any, number: int) -> _Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    uuid, model = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
    return _Gpu(Device("gpu", uuid, f"{model} ({uuid[:10]})"), model, _free_bytes(nvml, uuid))


def _free_bytes(nvml: Any, uuid: str) -> int:
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByUUID(uuid)).free)
    except nvml.NVMLError:  # a MIG device of old name, or memory shared with the host
        return 0


def _visible(nvml: Any, present: list[_Gpu], environment: Mapping[str, str]) -> list[_Gpu]:
    """Return the GPUs that CUDA would show; it stops at the first entry that names none.

    So it does where indexes and UUIDs mix, and shows nothing at all where one GPU is named twice.
    https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
    """
    if VISIBLE not in environment:
        return list(present)
    tokens = [token.strip() for token in environment[VISIBLE].split(",")]
    found: list[_Gpu] = []
    for token in itertools.takewhile(lambda one: one.isdecimal() == tokens[0].isdecimal(), tokens):
        gpu = _named(nvml, token, present, environment)
        if gpu is None:
            break
        if gpu.device in (one.device for one in found):
            return []
        found.append(gpu)
    return found


def _named(
    nvml: Any, token: str, present: list[_Gpu], environment: Mapping[str, str]
) -> _Gpu | None:
    """Return the GPU that an index, a UUID, the start of one, or a MIG device's name means."""
    if token.startswith("MIG-"):
        return _Gpu(Device("gpu", token, token), "MIG", _free_bytes(nvml, token))
    if token.isdecimal() and int(token) < len(present):
        _refuse_ambiguous_order(present, environment)
        return present[int(token)]
    meant = [gpu for gpu in present if token[:4] == "GPU-" and gpu.device.id.startswith(token)]
    return meant[0] if len(meant) == 1 else None


def _refuse_ambiguous_order(present: list[_Gpu], environment: Mapping[str, str]) -> None:
    models = {gpu.model for gpu in present}
    if environment.get(ORDER) != "PCI_BUS_ID" and len(models) > 1:
        raise InvalidPlan(
            f"{VISIBLE}={environment[VISIBLE]!r} names GPUs by index, but their order is not told, "
            f"and they differ ({', '.join(sorted(models))}); set {ORDER}=PCI_BUS_ID, or name UUIDs"
        )


def _use(nvml: Any, device: Device) -> GpuUse:
    handle = nvml.nvmlDeviceGetHandleByUUID(device.id)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return GpuUse(
        device=device.name,
        memory_used_bytes=memory.used,
        memory_total_bytes=memory.total,
        utilization=nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
    )


@functools.cache
def _mxnet_has_cuda() -> bool:
    """Return whether MXNet's library is linked against the driver, without loading it."""
    package = importlib.util.find_spec("mxnet")
    folders = (package and package.submodule_search_locations) or []
    for library in (Path(folder, "libmxnet.so") for folder in folders):
        if library.is_file():
            with (
                library.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                return content.find(b"libcuda.so") >= 0
    return False


@functools.cache
def _say_once(text: str) -> None:
    """Log it at the first call only: candidates are asked for again and again."""
    log.info("%s", text)
