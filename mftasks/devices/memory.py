"""How much memory a process has held at most, and what a person can do if it is not enough."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
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

    Linux has it as VmHWM; `getrusage` there starts from the size of the process that spawned us.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def oom_kills() -> int:
    """Return how many processes this host's kernel has killed for lack of memory since it started.

    Those in containers are among them, as all share the kernel. 0 if the kernel has no such count.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
