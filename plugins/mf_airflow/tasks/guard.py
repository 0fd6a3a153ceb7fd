"""Run a command so that nothing of it outlives the process that started it.

python -I -S guard.py PARENT_PID SIGNAL GRACE_SECONDS COMMAND…

The command gets a process group of its own. It is stopped, with everything that descends from it,
when this process gets SIGTERM (or SIGINT: at once), when the parent is gone, even by SIGKILL, and
when the command itself ends. If the guard is killed, so is the command. The exit
code is the command's, 128 + n after signal n. Only the standard library is imported, so that it
starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_EVERY_SECONDS = 0.5


def command(*arguments: str, grace: float, asked_by: int = signal.SIGTERM) -> list[str]:
    """Return the command line that runs `arguments` under a guard which the caller starts.

    The command is asked to stop by the signal `asked_by`, and killed `grace` seconds later.
    """
    return [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).resolve()),
        str(os.getpid()),
        str(int(asked_by)),
        str(grace),
        *arguments,
    ]


def main(parent: int, asked_by: int, grace: float, arguments: list[str]) -> int:
    """Run `arguments` until they end or have to; return their exit code."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signals = _Signals()
    child = subprocess.Popen(
        arguments,
        start_new_session=True,
        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    )
    while child.poll() is None and not signals.to_stop and os.getppid() == parent:
        signals.wait(LOOK_EVERY_SECONDS)
    deadline = time.monotonic() + grace
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, asked_by)
    while child.poll() is None and not signals.in_a_hurry and time.monotonic() < deadline:
        signals.wait(deadline - time.monotonic())
    _kill_descendants(child)
    code = child.wait()
    return code if code >= 0 else 128 - code


class _Signals:
    """What wakes the main loop: the end of a child, and the signals that ask for a stop."""

    def __init__(self) -> None:
        self.to_stop = False
        self.in_a_hurry = False
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)

    def wait(self, seconds: float) -> None:
        select.select([self._reader], [], [], max(seconds, 0.0))
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def _stop(self, number: int, _: object) -> None:
        self.to_stop = True
        self.in_a_hurry |= number == signal.SIGINT


def _kill_descendants(child: subprocess.Popen[bytes]) -> None:
    """Kill until no descendant is left: what a killed process leaves behind becomes a child of ours."""
    while children := _list_children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            if pid == child.pid:
                child.wait()
            else:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _list_children() -> list[int]:
    me, found = os.getpid(), []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - /proc has many entries
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b") ")[2].split()
                if int(fields[1]) == me:
                    found.append(int(entry))
    return found


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
