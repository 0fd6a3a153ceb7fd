"""Ask a container for its health as Docker does: often until it is well, and then from time to time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

from tests.deployment.engine.service import Healthcheck, seconds


class Health:
    """The known health of a container; `begin` starts a command inside it."""

    def __init__(
        self, check: Healthcheck | None, begin: Callable[[list[str]], subprocess.Popen[str]]
    ) -> None:
        self.healthy = False
        self.healthy_at: list[float] = []
        self.failures: list[str] = []
        self._check = check
        self._begin = begin
        self._asked: subprocess.Popen[str] | None = None
        self._asked_at = 0.0
        self._next_at = 0.0
        self._started_at = 0.0
        self._failed = 0

    def restart(self) -> None:
        """Know nothing, as the container has just been started."""
        self._failed, self.healthy = 0, False
        self._started_at = self._asked_at = time.monotonic()
        self._plan()

    def stop(self) -> None:
        """Ask no more."""
        self.healthy = False
        if self._asked is not None:
            self._give_up(self._asked)

    def look(self) -> None:
        """Ask when it is time to, and take in the answer when it is there."""
        if self._check is None:
            return
        now = time.monotonic()
        if self._asked is None:
            if now >= self._next_at:
                self._asked, self._asked_at = self._begin(_command(self._check)), now
        elif self._asked.poll() is not None:
            self._take_answer(self._asked)
        elif now > self._asked_at + seconds(self._check.timeout):
            self._give_up(self._asked)
            self._count("it did not answer in time")

    def _take_answer(self, asked: subprocess.Popen[str]) -> None:
        said, _ = asked.communicate()
        self._asked = None
        if asked.returncode != 0:
            self._count(said)
            return
        self._failed = 0
        if not self.healthy:
            self.healthy = True
            self.healthy_at.append(time.monotonic())
        self._plan()

    def _count(self, said: str) -> None:
        """Count a failure; those while it starts are not held against it."""
        assert self._check is not None
        if self.healthy or not self._starts():
            self._failed += 1
            self.failures.append(said)
        if self._failed >= self._check.retries:
            self.healthy = False
        self._plan()

    def _plan(self) -> None:
        if self._check is not None:
            often = self._starts() and not self.healthy
            pause = self._check.start_interval if often else self._check.interval
            self._next_at = time.monotonic() + seconds(pause)

    def _starts(self) -> bool:
        assert self._check is not None
        return time.monotonic() < self._started_at + seconds(self._check.start_period)

    def _give_up(self, asked: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(asked.pid, signal.SIGKILL)
        asked.communicate()
        self._asked = None


def _command(check: Healthcheck) -> list[str]:
    kind, *words = check.test
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words
