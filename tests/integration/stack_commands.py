"""Run `python -m mf_airflow.embedded` as `make run`, `make up` and `make down` do, and watch its processes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.waiting import wait

ROOT = Path(__file__).parents[2]


class Command(NamedTuple):
    """A running `python -m mf_airflow.embedded`, and the mark that its family carries."""

    process: subprocess.Popen[str]
    mark: str
    log: Path

    def read(self) -> str:
        return self.log.read_text()

    def wait_for(self, pattern: str, seconds: float = 120) -> None:
        """Wait until it prints what fits `pattern`."""
        self.wait_until(lambda: re.search(pattern, self.read()), seconds)

    def wait_until(self, condition: Callable[[], Any], seconds: float = 120) -> None:
        """Wait for a condition, as long as the command runs."""
        held = False

        def look() -> bool:
            nonlocal held
            held = held or bool(condition())  # it may hold for a moment only
            return held or self.process.poll() is not None

        wait(look, seconds, self.read)
        assert held, self.read()

    def find_family(self) -> dict[int, str]:
        """Return the command lines of the living processes that descend from it, by process id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(folder.name)] = line
        return found


class Place(NamedTuple):
    """The folders of one stack."""

    local: Path
    output: Path

    def command(self, *arguments: str) -> list[str]:
        folders = [f"--local={self.local}"]
        if arguments[0] != "down":
            folders.append(f"--output={self.output}")
        return [sys.executable, "-m", "mf_airflow.embedded", *arguments, *folders]

    @contextlib.contextmanager
    def start(self, *arguments: str, **variables: str) -> Iterator[Command]:
        """Run a command of the stack in the background; it is stopped in the end."""
        mark = uuid.uuid4().hex
        environment = (
            os.environ
            | variables
            | {
                "MF_TEST_MARK": mark,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            }
        )
        log = self.local.parent / f"{mark}.log"
        with (
            log.open("w") as output,
            subprocess.Popen(
                self.command(*arguments),
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            try:
                yield Command(process, mark, log)
            finally:
                process.terminate()

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what it printed. Nothing of it is left."""
        with self.start(*arguments, **variables) as command:
            code = command.process.wait(240)
            assert command.find_family() == {}
        return code, command.read()
