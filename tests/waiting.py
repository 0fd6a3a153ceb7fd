"""Wait for a condition; the failure shows what was waited for, and what there was instead."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

EVERY_SECONDS = 0.1
LONGEST_SECONDS = 1800.0  # a service that is restarted again and again makes progress for ever


def wait(
    condition: Callable[[], Any],
    seconds: float,
    explain: Callable[[], object],
    every: float = EVERY_SECONDS,
    progress: Callable[[], object] = lambda: None,
) -> float:
    """Wait until `condition()`, and return after how many seconds.

    Fails with `explain()` once `progress()` has not changed for `seconds`.
    """
    began = changed = time.monotonic()
    latest = progress()
    while not condition():
        now = time.monotonic()
        if (reached := progress()) != latest:
            latest, changed = reached, now
        if now - changed > seconds or now - began > LONGEST_SECONDS:
            awaited = inspect.getsource(condition).strip()
            waited = f"{now - began:.0f} s, the last {now - changed:.0f} s without progress"
            raise AssertionError(f"in vain after {waited}: {awaited}\n{explain()}")
        time.sleep(every)
    return time.monotonic() - began
