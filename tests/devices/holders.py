"""Processes that lease CPU slots until their standard input ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

from mftasks.devices.gpus import Device
from mftasks.devices.leases import lease
from mftasks.errors import NoDeviceFree

ROOT = Path(__file__).parents[2]
LONG = 60.0

# Leases n of so many CPU slots and prints what happens; releases them when its standard input ends.
HOLDER = """
import logging, select, signal, subprocess, sys
from pathlib import Path
from mftasks.devices.gpus import Device
from mftasks.errors import Interrupted
from mftasks.devices.leases import lease

class Handler(logging.StreamHandler):
    def handleError(self, record):
        raise  # else logging keeps to itself what a signal raises while a line is written

def interrupted(number, frame):
    raise Interrupted("SIGTERM")

folder, name, n, slots, do = sys.argv[1:]
logging.basicConfig(level=logging.INFO, handlers=[Handler(sys.stdout)], format="%(message)s")
signal.signal(signal.SIGTERM, interrupted)
devices = [Device("cpu", str(slot), "cpu") for slot in range(int(slots))]
try:
    with lease(
        devices, int(n), folder=Path(folder), holder=name, wait_seconds=60,
        on_wait=lambda text: logging.info("waits for %s", text),
    ) as leased:
        print("holds", *(device.id for device in leased), flush=True)
        if do == "start a child":
            print(subprocess.Popen(["sleep", "600"], close_fds=False).pid, flush=True)
        # Python does not see a signal that comes just before a call that blocks.
        while not select.select([sys.stdin], [], [], 0.1)[0]:
            pass
    print("let go", flush=True)
except Interrupted:
    print("interrupted", flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that leases CPU slots of a folder until `let_go` is called."""

    def __init__(self, folder: Path, name: str, n: int, slots: int, do: str = "wait") -> None:
        arguments = [str(folder), name, str(n), str(slots), do]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


def slots(n: int) -> list[Device]:
    return [Device("cpu", str(slot), "cpu") for slot in range(n)]


def leased(
    folder: Path, n: int = 1, of: int = 1, wait_seconds: float = LONG, **more: Any
) -> contextlib.AbstractContextManager[tuple[Device, ...]]:
    given = {"holder": "the test", **more}
    return lease(slots(of), n, folder=folder, wait_seconds=wait_seconds, **given)


def free(folder: Path, of: int) -> bool:
    """Return whether all of so many slots can be had."""
    try:
        with leased(folder, n=of, of=of, wait_seconds=0):
            return True
    except NoDeviceFree:
        return False
