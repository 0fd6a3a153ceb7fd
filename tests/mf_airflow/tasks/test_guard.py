from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mf_airflow.tasks import guard

# Starts a grandchild in a session of its own, which ignores SIGTERM, as its parent does.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_the_exit_code_is_the_commands() -> None:
    assert subprocess.run(guard.command("sh", "-c", "exit 7", grace=1), check=False).returncode == 7


def test_a_command_that_a_signal_killed_has_the_shells_exit_code() -> None:
    ended = subprocess.run(guard.command("sh", "-c", "kill -9 $$", grace=1), check=False)
    assert ended.returncode == 128 + signal.SIGKILL


def test_what_the_command_left_behind_is_killed_when_it_ends() -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    guarded = guard.command(sys.executable, "-c", script, grace=1)
    ended = subprocess.run(guarded, stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    assert not psutil.pid_exists(int(ended.stdout))


def test_a_command_is_asked_to_stop_before_it_is_killed() -> None:
    script = "trap 'exit 9' TERM; echo ready; while true; do sleep 0.05; done"
    with _start("sh", "-c", script) as guarded:
        _first_line(guarded)
        guarded.terminate()
        assert guarded.wait(10) == 9


def test_what_ignores_the_request_is_killed_with_all_its_descendants() -> None:
    with _start(sys.executable, "-c", STUBBORN) as guarded:
        grandchild = int(_first_line(guarded))
        guarded.terminate()
        assert guarded.wait(10) == 128 + signal.SIGKILL
        assert not psutil.pid_exists(grandchild)


def test_a_command_can_be_killed_without_being_asked() -> None:
    with _start(sys.executable, "-c", STUBBORN, grace=60) as guarded:
        _first_line(guarded)
        guarded.send_signal(signal.SIGINT)
        assert guarded.wait(5) == 128 + signal.SIGKILL


def test_nothing_outlives_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, STUBBORN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(guard.__file__).parents[2])},
    )
    with parent:
        grandchild = int(_first_line(parent))
        family = [psutil.Process(grandchild), *psutil.Process(grandchild).parents()]
        ours = family[: [one.pid for one in family].index(parent.pid)]
        parent.kill()
        gone, alive = psutil.wait_procs(ours, timeout=10)
    assert len(gone) == 3  # the grandchild, the command, its guard
    assert alive == []


def test_a_command_does_not_outlive_a_guard_that_was_killed() -> None:
    with _start(
        sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"
    ) as guarded:
        _first_line(guarded)
        (command,) = psutil.Process(guarded.pid).children()
        guarded.kill()
        gone, _ = psutil.wait_procs([command], timeout=10)
    assert gone == [command]


_PARENT = """
import subprocess, sys
from mf_airflow.tasks import guard
subprocess.run(guard.command(sys.executable, "-c", sys.argv[1], grace=0.2))
"""


def _start(*arguments: str, grace: float = 0.5) -> subprocess.Popen[str]:
    return subprocess.Popen(
        guard.command(*arguments, grace=grace), stdout=subprocess.PIPE, text=True
    )


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture(autouse=True)
def _soon() -> object:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20
