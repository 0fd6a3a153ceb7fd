"""How much memory a process has held at most."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


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
