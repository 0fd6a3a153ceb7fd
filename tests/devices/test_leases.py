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
from typing import Any

import pytest

from mftasks.devices.gpus import Device
from mftasks.devices.leases import lease
from mftasks.errors import MfError, NoDeviceFree

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Holder]]:
    with contextlib.ExitStack() as started:

        def start_one(name: str, n: int = 1, slots: int = 1, do: str = "wait") -> Holder:
            holder = Holder(folder, name, n, slots, do)
            started.enter_context(holder.process)
            started.callback(holder.process.kill)
            return holder

        yield start_one


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


def test_the_first_free_devices_are_leased_in_the_order_of_the_candidates(folder: Path) -> None:
    with leased(folder, of=4) as first, leased(folder, n=2, of=4) as more:
        assert [device.id for device in (*first, *more)] == ["0", "1", "2"]
    with leased(folder, of=4) as again:
        assert again == first


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


def test_an_error_leaves_nothing_held(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), leased(folder, n=2, of=2):
        _ = 1 / 0
    assert free(folder, of=2)
    with leased(folder, of=2):
        with pytest.raises(NoDeviceFree), leased(folder, n=2, of=2, wait_seconds=0):
            pass
        with leased(folder, of=2) as second:
            assert second[0].id == "1"
    assert free(folder, of=2)


def test_an_error_of_the_training_is_not_taken_for_one_of_the_folder(folder: Path) -> None:
    with pytest.raises(FileNotFoundError), leased(folder):
        raise FileNotFoundError("ratings.npz")


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


def test_the_order_is_that_of_free_memory_at_the_moment_of_the_try(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [Device("gpu", f"GPU-{number}", "A100") for number in range(2)]
    monkeypatch.setattr("mftasks.devices.gpus.by_free_memory", lambda devices: devices[::-1])
    with lease(cards, 1, folder=folder, holder="a") as got:
        assert got == (cards[1],)


def test_the_locks_are_for_this_user_alone_and_safe_of_name(folder: Path) -> None:
    mig = Device("gpu", "MIG-GPU-1/../7", "MIG-GPU-1/../7")
    with lease([mig], 1, folder=folder, holder="a", wait_seconds=0):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in folder.iterdir()} == {"gpu.turn", "gpu-MIG-GPU-1_.._7.lock"}
        with (
            pytest.raises(NoDeviceFree, match=r"MIG-GPU-1/../7 is held by a \(process"),
            lease([mig], 1, folder=folder, holder="b", wait_seconds=0),
        ):
            pass


def test_the_file_of_a_lock_is_always_the_same(folder: Path) -> None:
    inodes = set()
    for _ in range(2):
        with leased(folder):
            inodes.add((folder / "cpu-0.lock").stat().st_ino)
    assert inodes == {(folder / "cpu-0.lock").stat().st_ino}


def test_a_holder_that_could_not_sign_is_another_process(folder: Path) -> None:
    with leased(folder):
        (folder / "cpu-0.lock").write_text("gibberish")
        with (
            pytest.raises(NoDeviceFree, match="cpu 0 is held by another process;"),
            leased(folder, wait_seconds=0),
        ):
            pass


def test_a_folder_that_cannot_keep_locks_is_named_with_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MfError, match=r"/file: .*MF_LEASES"), leased(tmp_path / "file"):
        pass


def test_a_link_in_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "precious").write_text("kept")
    (folder / "cpu-0.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(MfError, match="MF_LEASES"), leased(folder):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
