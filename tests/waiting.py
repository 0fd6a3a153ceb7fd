"""Wait for a condition; if it does not come true, fail with what explains that."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVERY_SECONDS = 0.1
LONGEST_SECONDS = (
    1800.0  # for what makes progress for ever, such as a service that is started again and again
)


def wait(
    true: Callable[[], Any],
    seconds: float,
    explain: Callable[[], object],
    every: float = EVERY_SECONDS,
    progress: Callable[[], object] = lambda: None,
) -> float:
    """Wait until `true()`, and return after how many seconds.

    Fails with `explain()` once `progress()` has not changed for `seconds`.
    """
    began = changed = time.monotonic()
    latest = progress()
    while not true():
        now = time.monotonic()
        if (reached := progress()) != latest:
            latest, changed = reached, now
        assert now - changed < seconds, f"no progress for {seconds:.0f} s:\n{explain()}"
        assert now - began < LONGEST_SECONDS, f"not within {LONGEST_SECONDS:.0f} s:\n{explain()}"
        time.sleep(every)
    return time.monotonic() - began
