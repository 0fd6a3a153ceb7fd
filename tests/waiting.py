"""Wait for what must come, and say why it was expected where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVERY_SECONDS = 0.1


def wait(
    true: Callable[[], Any],
    seconds: float,
    said: Callable[[], object],
    every: float = EVERY_SECONDS,
) -> float:
    """Wait until `true()`, and return after how many seconds; fails with what `said()` tells."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s:\n{said()}"
        time.sleep(every)
    return time.monotonic() - began
