"""What ends `make run` and `make up` early: nothing is left running, the message says why, the next one works."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.stack_commands import ROOT, Command, Place

pytestmark = pytest.mark.server
NO_DATA = '{"dataset": "/nowhere/ratings.csv"}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("stops")
    (ROOT / "dags" / "movielens_mf.py").touch()  # or a tick that was missed is caught up
    return Place(folder / "local", folder / "output")


@pytest.mark.parametrize("n_processes", [1, 3, 5, 8, 12])
def test_ctrl_c_while_it_starts_leaves_nothing(place: Place, n_processes: int) -> None:
    with place.start("run") as command:
        command.wait_until(lambda: "starting" in command.read())
        command.wait_until(lambda: len(command.find_family()) >= n_processes)
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(60) == 128 + signal.SIGINT
        assert command.find_family() == {}
        assert command.read().endswith("stopped; nothing is left running\n")


def test_then_a_failed_run_exits_non_zero_and_shows_why(place: Place) -> None:
    code, printed = place.run("run", "--conf", NO_DATA)
    assert code == 1
    assert "download failed; its log ends with:" in printed
    assert "No such file or directory: '/nowhere/ratings.csv'; it must be" in printed
    assert not place.output.exists()


def test_a_signal_stops_everything_and_another_run_is_refused_until_then(place: Place) -> None:
    with place.start("run", "--conf", '{"epochs": 500, "networks": ["resnet"]}') as command:
        command.wait_for(r"train_resnet +epoch \d+ of 500")
        assert len(command.find_family()) > 8
        code, printed = place.run("run")
        assert code == 1
        assert "a stack is running in this checkout already" in printed
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(60) == 128 + signal.SIGTERM
        assert command.find_family() == {}
        assert "stopped; nothing is left running" in command.read()


def test_one_that_is_killed_leaves_nothing_and_can_be_started_again_at_once(place: Place) -> None:
    with place.start("up") as first:
        first.wait_for("make down")
        first.process.kill()
        first.process.wait()
        with place.start("up") as second:
            second.wait_for("make down")
            assert first.find_family() == {}
            # Then a server of the second is killed, which ends it with the name of that.
            os.kill(_find(second, "weed"), signal.SIGKILL)
            assert second.process.wait(60) == 70
            assert second.find_family() == {}
            assert "SeaweedFS is not running any more (killed by SIGKILL)" in second.read()


def test_a_folder_that_cannot_be_written_to_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, printed = Place(tmp_path / "file", tmp_path).run("run")
    assert code == 1
    assert printed.startswith("error ")
    assert str(tmp_path / "file") in printed
    assert printed.count("\n") == 1


def _find(command: Command, program: str) -> int:
    """Return the process that runs a server's program, not its guard."""
    first = {pid: line.split()[0] for pid, line in command.find_family().items()}
    return min(pid for pid, path in first.items() if Path(path).name == program)
