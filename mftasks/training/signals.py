"""Stop at a good moment: a signal is remembered when it arrives, and acted on between two batches."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from mftasks.errors import Interrupted


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Give a function that raises `Interrupted` once SIGTERM or SIGINT has arrived."""
    arrived: list[int] = []

    def check() -> None:
        if arrived:
            name = signal.Signals(arrived[0]).name
            raise Interrupted(f"{name} stopped the training; start it again to resume")

    if threading.current_thread() is not threading.main_thread():
        yield check  # only the main thread gets signals
        return
    usual = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield check
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
