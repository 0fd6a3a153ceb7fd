"""How much memory a process has held at most, and whether the kernel ended one for want of it."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

ADVICE = (
    "lower batch_size, factors or hidden, let fewer trainings run at once on this worker "
    "(MF_CPU_SLOTS), or give it more memory"
)


def peak_rss_bytes() -> int:
    """Return the largest resident set of this process so far, in bytes.

    Linux keeps it as VmHWM; `getrusage` there starts from the size of the process that spawned us.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def oom_kills() -> int:
    """Return how many processes this host's kernel has ended for want of memory since it started.

    Containers count here, too, as all of them share the kernel. 0 where the kernel does not tell.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
