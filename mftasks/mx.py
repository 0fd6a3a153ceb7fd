"""The one place that imports MXNet, after setting threads, NumPy's old names and warnings.

    from mftasks.mx import autograd, gluon, mx, nd

MXNet 1.9.1 spins when its OpenMP threads share cores, reads `numpy.bool`, which NumPy 1.24 removed,
and never flushes denormals, into which weight decay drives unused weights (an epoch of the ResNet
grows from 2 to 12 seconds). OMP_NUM_THREADS and the like stay as the user set them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from mftasks import settings
from mftasks.errors import MfError

FLUSH_TO_ZERO = 0x8040  # the bits FTZ and DAZ of MXCSR
CHUNK = 1 << 16  # ratings that are predicted at once
MXCSR = 7  # its place among the 32-bit words of glibc's fenv_t on x86-64


@contextlib.contextmanager
def _flush_denormals() -> Iterator[None]:
    """Flush denormals to zero in this thread, and in the threads that it starts meanwhile."""
    if platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libm = ctypes.CDLL("libm.so.6")
    usual, flushing = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    libm.fegetenv(usual)
    libm.fegetenv(flushing)
    flushing[MXCSR] |= FLUSH_TO_ZERO
    libm.fesetenv(flushing)
    try:
        yield
    finally:
        libm.fesetenv(usual)


settings.limit_threads()
import numpy  # noqa: E402 - it reads the number of threads once, here

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # it would name its backend at each bind
numpy.bool = bool  # type: ignore[attr-defined]

with _flush_denormals(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mxnet as mx
    from mxnet import autograd, gluon, nd

    # The engine starts its worker with the first operation, and the worker keeps the flag.
    nd.zeros(1).wait_to_read()


def contexts(kind: Literal["cpu", "gpu"], n: int) -> list[Any]:
    """Return the first `n` devices of a kind as MXNet's contexts.

    The workers of further CPU contexts start here, and flush denormals, too; each of them would print
    a notice at its first lazy update. Raises `MfError` if MXNet does not see as many GPUs.
    """
    if kind == "gpu" and (seen := mx.context.num_gpus()) < n:
        raise MfError(
            f"MXNet sees {seen} of the {n} GPUs that were leased (CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES')}); check that the driver supports its CUDA"
        )
    found = [mx.Context(kind, number) for number in range(n)]
    with _flush_denormals(), _silence_stderr():
        for context in found:
            weight, *moments = (nd.zeros((1, 1), ctx=context) for _ in range(3))
            gradient = weight.tostype("row_sparse")
            nd.adam_update(weight, gradient, *moments, out=weight, lr=0).wait_to_read()
    return found


@contextlib.contextmanager
def _silence_stderr() -> Iterator[None]:
    """Discard what is written to file descriptor 2 meanwhile: MXNet's notices heed no setting."""
    sys.stderr.flush()
    usual, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(usual, 2)
        os.close(usual)
        os.close(null)


def predict(network: Callable[..., Any], users: Any, items: Any, context: Any = None) -> Any:
    """Return what a network predicts for arrays of positions, in chunks: float32, unclipped."""
    predicted = numpy.empty(len(users), numpy.float32)
    for start in range(0, len(users), CHUNK):
        chunk = slice(start, start + CHUNK)
        sides = (nd.array(side[chunk], ctx=context, dtype="int32") for side in (users, items))
        outputs = network(*sides)
        first = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        predicted[chunk] = first.asnumpy()
    return predicted


def free_memory(contexts: Sequence[Any]) -> None:
    """Give the memory of arrays that are gone back to the GPUs, for the next process on them."""
    gc.collect()
    for context in contexts:
        if context.device_type == "gpu":
            context.empty_cache()


__all__ = ["autograd", "contexts", "free_memory", "gluon", "mx", "nd", "predict"]
