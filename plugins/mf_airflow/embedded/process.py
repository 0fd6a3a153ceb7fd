"""Run a guarded server in the background: wait until it is ready, stop it, read the end of its log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import psutil

from mf_airflow.tasks import guard
from mftasks.errors import MfError

START_SECONDS = 30.0
STOP_SECONDS = 15.0
LEAST_BYTES = 1 << 20


class ServerFailed(MfError):
    """A server of the embedded stack that did not start, or ended."""


class Process:
    """A guarded command in the background, which writes to a log file; as a context manager, it stops in the end."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        grace: float = STOP_SECONDS,
        asked_by: int = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._grace = grace
        with log.open("ab") as output:
            self._wait_for_predecessor(output.fileno())
            output.truncate(0)
            self._guard = subprocess.Popen(
                guard.command(*command, grace=grace, asked_by=asked_by),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_for_predecessor(self, log: int) -> None:
        """Lock the log, which is free once whatever writes to it is gone, as after a stack was killed."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ServerFailed(
                        f"another {self.name} writes to {self.log}; stop it"
                    ) from error
                time.sleep(0.1)

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    def wait_for(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait until `ready`; raises `ServerFailed` when it ends before or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                self._fail(f"was not ready after {seconds:.0f} s")
            time.sleep(0.1)

    def wait_to_end(self, seconds: float = 300.0) -> None:
        """Wait for its end; raises `ServerFailed` unless it succeeds."""
        try:
            self._guard.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(f"{self.name} took more than {seconds:.0f} s") from error
        if self._guard.returncode != 0:
            self._fail("failed")

    def check(self) -> None:
        """Raise `ServerFailed` when it has ended, or when it may hang as its disk is full."""
        if not self.running:
            self._fail("is not running any more")
        if shutil.disk_usage(self.log.parent).free < LEAST_BYTES:
            raise ServerFailed(
                f"the disk of {self.log.parent} is full; free some space, and start again"
            )

    def _fail(self, what: str) -> NoReturn:
        end = "" if self.running else f" ({_describe_end(self._guard.returncode)})"
        lines = last_lines(self.log) or "nothing"
        raise ServerFailed(f"{self.name} {what}{end}; its log {self.log} ends with:\n{lines}")

    def stop(self) -> None:
        """Stop it, and return when it and all its descendants are gone; twice is harmless."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Do the same without giving it time."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self.running:
            self._guard.send_signal(number)
        try:
            self._guard.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()


def _describe_end(code: int) -> str:
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(code - 128).name}"
    return f"exit code {code}"


def stop_children() -> None:
    """Stop the children that nobody holds, as a signal interrupted the code that started them."""
    children = psutil.Process().children()
    for child in children:
        child.terminate()
    for child in psutil.wait_procs(children, STOP_SECONDS + 5)[1]:
        child.kill()


def free_ports(n: int) -> list[int]:
    """Return `n` ports of loopback that nobody listens on now."""
    with contextlib.ExitStack() as open_sockets:
        found = [open_sockets.enter_context(socket.socket()) for _ in range(n)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def write_secret(path: Path, text: str) -> None:
    """Write `text` to a file that only its owner may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def last_lines(path: Path, n: int = 20) -> str:
    """Return the end of a log file."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-n:])
    return ""
