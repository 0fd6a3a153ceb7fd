"""Which devices this process may use, and how busy a GPU is.

GPUs are found with NVML, which creates no CUDA context on them and needs no MXNet. Here a device only
gets a name: `leases` holds it, then `show_only` hides all others, before MXNet is imported.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import logging
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Literal, NamedTuple

import pynvml

from mftasks.errors import DeviceUnavailable, InvalidPlan, quote
from mftasks.records import DeviceKind, GpuUse

log = logging.getLogger(__name__)

ORDER, VISIBLE = "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"


class Device(NamedTuple):
    """A CPU slot or a GPU: `id` is the slot's number or the GPU's UUID, `name` is for people."""

    kind: Literal["cpu", "gpu"]
    id: str
    name: str


def candidates(
    wanted: DeviceKind, n: int, *, cpu_slots: int, environment: Mapping[str, str]
) -> list[Device]:
    """Return the devices of which a training may take `n`: GPUs, or CPU slots.

    `auto` means the CPU if MXNet is not built for CUDA or CUDA_VISIBLE_DEVICES hides all GPUs, and
    GPUs otherwise. Raises `InvalidPlan` if this worker is not set up for what is wanted, and
    `DeviceUnavailable` if it is and its driver fails: no training moves to the CPU because of that.
    """
    gpus, reason = ([], "") if wanted == "cpu" else _find_gpus(environment)
    if wanted == "gpu" and not gpus:
        raise InvalidPlan(f"device gpu: {reason}; choose device auto or cpu, or another worker")
    if wanted == "auto" and not gpus:
        log.info("device auto is the CPU here: %s", reason)
    found = gpus or [Device("cpu", str(slot), "cpu") for slot in range(cpu_slots)]
    if len(found) < n:
        kind = "visible GPUs" if gpus else "CPU slots (MF_CPU_SLOTS)"
        raise InvalidPlan(
            f"devices {n}: this worker has {len(found)} {kind}; "
            f"choose devices {len(found)} or fewer, or a worker that has more"
        )
    return found


def by_free_memory(devices: Sequence[Device]) -> list[Device]:
    """Return the devices, GPUs with the most free memory first, CPU slots in their order."""
    return sorted(devices, key=lambda device: -_free_bytes(device))


def show_only(leased: Sequence[Device], environment: MutableMapping[str, str]) -> None:
    """Let CUDA see only the leased GPUs, in their order, and none if CPU slots were leased."""
    environment[ORDER] = "PCI_BUS_ID"
    environment[VISIBLE] = ",".join(device.id for device in leased if device.kind == "gpu")


def describe(leased: Sequence[Device]) -> str:
    """Return the devices as a person reads them: `NVIDIA A100 (GPU-3f1c2a)`, `2 × cpu`."""
    counts = Counter(device.name for device in leased)
    return ", ".join(name if n == 1 else f"{n} × {name}" for name, n in counts.items())


def usage(leased: Sequence[Device]) -> tuple[GpuUse, ...]:
    """Return how busy the leased GPUs are; () for CPU slots and if NVML does not answer."""
    gpus = [device for device in leased if device.kind == "gpu"]
    try:
        return tuple(_use(device) for device in gpus)
    except pynvml.NVMLError:
        return ()


def _find_gpus(environment: Mapping[str, str]) -> tuple[list[Device], str]:
    """Return the GPUs that CUDA would show to this process, and the reason if there are none."""
    if not _mxnet_has_cuda():
        return [], "MXNet is built without CUDA"
    present, problem = [], "finds no GPU"
    try:
        pynvml.nvmlInit()  # it is never shut down: a start may take a second
        present = [_read_gpu(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        problem = f"does not answer ({error})"
    if not present:
        raise DeviceUnavailable(
            f"MXNet is built for CUDA, and the NVIDIA driver {problem}; "
            "see what nvidia-smi reports on this worker, or choose device cpu"
        )
    if VISIBLE not in environment:
        return [gpu.device for gpu in present], ""
    value = quote(environment[VISIBLE])
    reason = f"{VISIBLE}={value} hides all GPUs of this worker ({len(present)})"
    return _select_visible(present, environment), reason


@functools.cache
def _mxnet_has_cuda() -> bool:
    """Return whether a build of MXNet for CUDA is installed: they are called mxnet-cu117 and so on."""
    return any(
        (package.name or "").startswith("mxnet-cu")
        for package in importlib.metadata.distributions()
    )


class _Gpu(NamedTuple):
    device: Device
    model: str


def _read_gpu(number: int) -> _Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    uuid, model = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
    return _Gpu(Device("gpu", uuid, f"{model} ({uuid[:10]})"), model)


def _select_visible(present: Sequence[_Gpu], environment: Mapping[str, str]) -> list[Device]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES shows, by the rules of CUDA.

    The first entry that names no GPU ends the list, and so does a UUID among indexes or the other way
    round. A GPU that is named twice hides all. Blanks around an entry are ignored, though CUDA ends
    the list at one before a UUID: CUDA sees what `show_only` sets, and not this list.
    https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
    """
    tokens = [token.strip() for token in environment[VISIBLE].split(",")]
    by_index = tokens[0].isdecimal()
    if by_index:
        _refuse_ambiguous_order(present, environment)
    find = _find_by_index if by_index else _find_by_uuid
    named = (find(token, present) for token in tokens)
    found = [device for device in itertools.takewhile(bool, named) if device]
    return found if len(set(found)) == len(found) else []


def _refuse_ambiguous_order(present: Sequence[_Gpu], environment: Mapping[str, str]) -> None:
    models = {gpu.model for gpu in present}
    if environment.get(ORDER) != "PCI_BUS_ID" and len(models) > 1:
        raise InvalidPlan(
            f"{VISIBLE}={quote(environment[VISIBLE])} names GPUs by index, and their order is not fixed, "
            f"as they differ ({', '.join(sorted(models))}); set {ORDER}=PCI_BUS_ID, or name UUIDs"
        )


def _find_by_index(token: str, present: Sequence[_Gpu]) -> Device | None:
    is_known = token.isdecimal() and int(token) < len(present)
    return present[int(token)].device if is_known else None


def _find_by_uuid(token: str, present: Sequence[_Gpu]) -> Device | None:
    """Return the GPU of a UUID or of the start of one, in any case, or the MIG device of that name."""
    kind, _, start = token.partition("-")
    if kind == "MIG":
        return Device("gpu", token, token)
    if kind != "GPU" or not start:
        return None
    prefix = token.lower()
    meant = [gpu.device for gpu in present if gpu.device.id.lower().startswith(prefix)]
    return meant[0] if len(meant) == 1 else None


def _free_bytes(device: Device) -> int:
    if device.kind == "cpu":
        return 0
    try:
        return int(_memory(device).free)
    except pynvml.NVMLError:  # a MIG device of old name, or memory that is shared with the host
        return 0


def _memory(device: Device) -> Any:
    return pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(device.id))


def _use(device: Device) -> GpuUse:
    memory = _memory(device)
    handle = pynvml.nvmlDeviceGetHandleByUUID(device.id)
    return GpuUse(
        device=device.name,
        memory_used_bytes=memory.used,
        memory_total_bytes=memory.total,
        utilization=pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
    )
