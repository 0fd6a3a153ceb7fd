"""How much memory a process has held at most, and what a person can do if it is not enough."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mftasks.errors import OutOfMemory

ADVICE = (
    "lower batch_size, factors or hidden, let fewer trainings run at once on this worker "
    "(MF_CPU_SLOTS), or give it more memory"
)
ALLOCATION_FAILED = re.compile(
    "failed to allocate|out of memory|bad_alloc|alloc_failed", re.IGNORECASE
)


@contextlib.contextmanager
def explain_shortage() -> Iterator[None]:
    """Raise `OutOfMemory` in place of what Python, MXNet and CUDA raise when memory is short."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # MXNet's errors are RuntimeErrors
        if isinstance(error, RuntimeError) and not ALLOCATION_FAILED.search(str(error)):
            raise
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise OutOfMemory(f"{last[0][:300]}; {ADVICE}") from error


def peak_rss_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes.

    `getrusage` would start from the size of the process that spawned this one.
    """
    return _read_figure("/proc/self/status", "VmHWM:") * 1024


def oom_kills() -> int:
    """Return how many processes this host's kernel has killed for lack of memory since it started.

    Those in containers are among them, as all share the kernel. 0 if the kernel has no such count.
    """
    return _read_figure("/proc/vmstat", "oom_kill")


def _read_figure(path: str, name: str) -> int:
    """Return a figure of the kernel, 0 if it has none of this name."""
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.split()[0] == name:
                return int(line.split()[1])
    return 0
