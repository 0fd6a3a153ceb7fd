"""The one place that imports MXNet: threads, NumPy's old names and warnings are set before it.

    from mftasks.mx import autograd, gluon, mx, nd

MXNet 1.9.1 spins when its OpenMP threads share cores, reads `numpy.bool`, which NumPy 1.24 removed,
and never flushes denormals, which weight decay drives unused weights into (an epoch of the ResNet
grows from 2 to 12 seconds). OMP_NUM_THREADS and the like stay as the user set them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import warnings
from collections.abc import Iterator
from typing import Any

import numpy

from mftasks import threads
from mftasks.errors import MfError

FLUSH_TO_ZERO = 0x8040  # the bits FTZ and DAZ of MXCSR
MXCSR = 7  # its place among the 32-bit words of glibc's fenv_t on x86-64


@contextlib.contextmanager
def _flushing_denormals() -> Iterator[None]:
    """Flush denormals to zero in this thread and in the threads that it starts meanwhile."""
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


threads.bound()
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # it would name its backend at each bind
numpy.bool = bool  # type: ignore[attr-defined]

with _flushing_denormals(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mxnet as mx
    from mxnet import autograd, gluon, nd

    # The engine starts its worker with the first operation, and the worker keeps the flag.
    nd.zeros(1).wait_to_read()


def devices(kind: str, n: int) -> list[Any]:
    """Return the first `n` devices of a kind, cpu or gpu, as MXNet's contexts.

    The workers of further CPU contexts start here, and flush denormals, too. Raises `MfError` where
    MXNet does not see as many GPUs.
    """
    if kind == "gpu" and (seen := mx.context.num_gpus()) < n:
        raise MfError(
            f"MXNet sees {seen} of the {n} GPUs that were leased (CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES')}); see that the driver fits its CUDA"
        )
    found = [mx.Context(kind, number) for number in range(n)]
    if kind == "cpu":
        with _flushing_denormals():
            for each in found:
                nd.zeros(1, ctx=each).wait_to_read()
    return found


__all__ = ["autograd", "devices", "gluon", "mx", "nd"]
