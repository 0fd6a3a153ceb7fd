"""A Celery worker as a host of its own, whose processes can be found, killed, and asked to stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil

from mf_airflow import guard
from mf_airflow.process import Process, last_lines
from mf_airflow.rest import wait_until

START_SECONDS = 90.0
GUARD = str(Path(guard.__file__).resolve())


class Worker:
    """Hold a worker of the queues default and gpu; it shares nothing but servers with another."""

    def __init__(self, name: str, folder: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.cache = folder / "cache"
        self.leases = folder / "leases"
        self.logs = folder / "logs"
        self._folder = folder
        self._starts = 0
        self._process: Process | None = None
        self._variables = variables | {
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "MF_CACHE": str(self.cache),
            "MF_LEASES": str(self.leases),
        }
        for made in (self.cache, self.leases, self.logs):
            made.mkdir(parents=True)

    def start(self, **more: str) -> None:
        """Start it, with more variables where they are given, and return at once."""
        self._starts += 1
        command = ["-m", "airflow", "celery", "worker", "--skip-serve-logs"]
        flags = ["--without-gossip", "--without-mingle", "--queues=default,gpu", "--concurrency=3"]
        self._process = Process(
            f"worker {self.name}",
            [sys.executable, *command, *flags, f"--celery-hostname={self.name}@%h"],
            self.log,
            environment=self._variables | more,
        )

    def wait(self) -> None:
        """Wait until it takes tasks; raises `ServerFailed`."""
        assert self._process is not None
        self._process.wait_for(lambda: " ready." in self.log.read_text(), seconds=START_SECONDS)

    @property
    def log(self) -> Path:
        return self._folder / f"worker-{self._starts}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def kill(self) -> None:
        """End all its processes in the same moment, as a power failure does."""
        family = self.family()
        for sent in (signal.SIGSTOP, signal.SIGKILL):  # so that none reacts to another's end
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(sent)
        self.stop()

    def terminate(self) -> None:
        """Ask it to stop, as a host that is shut down does; it waits for its tasks."""
        self.main().send_signal(signal.SIGTERM)

    def wait_to_end(self, seconds: float) -> None:
        """Wait until it has ended of itself."""
        assert wait_until(lambda: not self.running, seconds), last_lines(self.log)

    def stop(self) -> None:
        """Stop it without giving it time; twice is harmless."""
        if self._process is not None:
            self._process.kill()

    def main(self) -> psutil.Process:
        """Return the worker's own process: its guard's first child, as orphans follow it there."""
        assert self._process is not None
        children = psutil.Process(self._process._guard.pid).children()
        return min(children, key=psutil.Process.create_time)

    def family(self) -> list[psutil.Process]:
        """Return its processes, ancestors first."""
        try:
            main = self.main()
            return [main, *main.children(recursive=True)]
        except (psutil.NoSuchProcess, ValueError):
            return []

    def child(self, network: str) -> psutil.Process | None:
        """Return the process that trains `network` here, if one does."""
        found = [one for one in self.family() if is_training(one, network)]
        return found[0] if found else None

    def task_process(self, network: str) -> psutil.Process | None:
        """Return the process in which Airflow runs the task that trains `network` here."""
        process = self.child(network)
        while process is not None:
            process = process.parent()
            if process is not None and GUARD not in _command(process):
                return process
        return None

    def held(self) -> list[str]:
        """Return the names of the locks that somebody holds on this host's devices."""
        return sorted(path.name for path in self.leases.glob("*.lock") if _is_locked(path))

    def signed(self, device: str) -> tuple[str, datetime]:
        """Return who has signed for a device of this host last, and when."""
        signed = json.loads((self.leases / f"{device}.lock").read_bytes())
        return signed["holder"], datetime.fromisoformat(signed["since"])


def is_training(process: psutil.Process, network: str) -> bool:
    """Say whether a process is a training itself, and not what guards it."""
    command = _command(process)
    return command[1:4] == ["-m", "mftasks", "train"] and network in command


def of_mark(mark: str) -> Iterator[psutil.Process]:
    """Yield the living processes whose environment has `mark`."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if mark in process.environ().values():
                yield process


def runs_a_step(process: psutil.Process) -> bool:
    """Say whether a process is a step of the pipeline, or guards one."""
    return "mftasks" in _command(process)


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
