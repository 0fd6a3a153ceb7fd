from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mftasks.devices.gpus import Device
from mftasks.devices.leases import lease
from mftasks.errors import NoDeviceFree
from tests.devices.holders import LONG, ROOT, Holder, free, leased

# Leases the only slot three times, and notes the times in a file.
RACER = """
import sys, time
from pathlib import Path
from mftasks.devices.gpus import Device
from mftasks.devices.leases import lease

folder, times = map(Path, sys.argv[1:])
for _ in range(3):
    with lease([Device("cpu", "0", "cpu")], 1, folder=folder, holder="racer"), times.open("a") as file:
        begin = time.monotonic()
        time.sleep(0.01)
        file.write(f"{begin} {time.monotonic()}\\n")
"""


def test_who_gives_up_is_told_who_holds_the_devices_and_what_to_do(
    folder: Path, start: Callable[..., Holder]
) -> None:
    holder = start("train linear of nightly-7", 1, 2)
    assert holder.line() == "holds 0"
    with pytest.raises(NoDeviceFree) as refused, leased(folder, n=2, of=2, wait_seconds=0):
        pass
    message = str(refused.value)
    held_by = f"cpu 0 is held by train linear of nightly-7 (process {holder.process.pid}, for "
    assert f"s for 2 of 2 devices: {held_by}" in message
    assert message.endswith(
        "let fewer trainings run at once, or wait longer (MF_DEVICE_WAIT_SECONDS=0)"
    )
    assert "cpu 1" not in message


def test_who_holds_what_is_waited_for_is_reported_at_once(start: Callable[..., Holder]) -> None:
    holder = start("train mlp of nightly-7")
    assert holder.line() == "holds 0"
    waiting = start("train linear of nightly-7")
    report = waiting.line()
    assert report.startswith("waits for 1 of 1 devices: cpu 0 is held by train mlp of nightly-7")
    holder.let_go()
    assert (holder.line(), waiting.line()) == ("let go", "holds 0")


def test_a_wait_is_reported_again_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mftasks.devices.leases.TRY_SECONDS", 0.01)
    monkeypatch.setattr("mftasks.devices.leases.REPORT_SECONDS", 0.05)
    reports: list[str] = []
    with (
        leased(folder),
        pytest.raises(NoDeviceFree),
        leased(folder, wait_seconds=0.5, on_wait=reports.append),
    ):
        pass
    assert len(reports) > 1


class _Enough(Exception):
    pass


def test_a_wait_has_no_limit_unless_one_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 86_400.0)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    reports: list[str] = []

    def on_wait(text: str) -> None:
        reports.append(text)
        if len(reports) == 100:  # days
            raise _Enough

    with leased(folder), pytest.raises(_Enough), leased(folder, wait_seconds=None, on_wait=on_wait):
        pass
    assert free(folder, of=1)


def test_a_killed_holder_holds_nothing(start: Callable[..., Holder]) -> None:
    holder = start("a")
    assert holder.line() == "holds 0"
    waiting = start("b")
    assert "is held by a" in waiting.line()
    holder.process.kill()
    assert waiting.line() == "holds 0"


def test_a_child_of_the_holder_does_not_keep_the_device(
    folder: Path, start: Callable[..., Holder]
) -> None:
    holder = start("a", do="start a child")
    assert holder.line() == "holds 0"
    child = int(holder.line())
    try:
        holder.process.kill()
        holder.process.wait()
        with leased(folder):
            os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)


def test_two_who_race_for_one_device_never_hold_it_together(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(folder), str(tmp_path / "times")]
    racers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [racer.wait(LONG) for racer in racers] == [0, 0]
    times = sorted(
        tuple(map(float, line.split())) for line in (tmp_path / "times").read_text().splitlines()
    )
    assert len(times) == 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


def test_who_wants_all_devices_is_not_passed_over_by_those_who_want_one(
    start: Callable[..., Holder],
) -> None:
    one = start("one", 1, 2)
    assert one.line() == "holds 0"
    both = start("both", 2, 2)
    assert "is held by one" in both.line()
    others = [start(name, 1, 2) for name in ("c", "d")]
    for other in others:  # though cpu 1 is free
        assert other.line().endswith("another training is next")
    one.let_go()
    assert both.line() == "holds 0 1"
    both.let_go()
    assert {other.line() for other in others} == {"holds 0", "holds 1"}


def test_gpus_and_the_cpu_do_not_wait_for_each_other(folder: Path) -> None:
    gpu = Device("gpu", "GPU-1", "A100 (GPU-1)")
    with leased(folder, holder="a"), _waiting(folder) as ended:
        with lease([gpu], 1, folder=folder, holder="b", wait_seconds=LONG) as got:
            assert got == (gpu,)
        assert not ended.is_set()
    assert ended.wait(LONG)


@contextlib.contextmanager
def _waiting(folder: Path) -> Iterator[threading.Event]:
    """Let a thread wait for the one CPU slot meanwhile; the event is set when it has it."""
    ended = threading.Event()

    def wait() -> None:
        with leased(folder):
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    yield ended


def test_an_interrupted_wait_leaves_nothing_held_while_its_process_lives(
    folder: Path, start: Callable[..., Holder]
) -> None:
    holder = start("a", 1, 2)
    assert holder.line() == "holds 0"
    next_one = start("b", 2, 2)
    assert "is held by a" in next_one.line()
    later_one = start("c", 2, 2)
    assert later_one.line().endswith("another training is next")
    for one in (later_one, next_one):
        one.process.terminate()
        assert one.line() == "interrupted"
    with leased(folder, of=2) as got:
        assert got[0].id == "1"
    holder.let_go()
    assert holder.line() == "let go"
    assert free(folder, of=2)
    assert next_one.process.poll() is later_one.process.poll() is None


def test_an_interrupted_holder_lets_go(folder: Path, start: Callable[..., Holder]) -> None:
    holder = start("a")
    assert holder.line() == "holds 0"
    holder.process.terminate()
    assert holder.line() == "interrupted"
    assert free(folder, of=1)


def test_a_forked_child_does_not_keep_what_its_parent_lets_go(folder: Path) -> None:
    script = f"""
import os, sys
from pathlib import Path
from mftasks.devices.gpus import Device
from mftasks.devices.leases import lease
with lease([Device("cpu", "0", "cpu")], 1, folder=Path({str(folder)!r}), holder="a"):
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
print("let go", flush=True)
os.waitpid(child, 0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip() == "let go"
        assert free(folder, of=1)
