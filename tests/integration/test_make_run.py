"""The real stack, end to end, on real ml-100k: what `make run`, `make up` and `make down` do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg2
import pytest

from mf_airflow.embedded import servers
from mftasks import networks, published

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.server
CONF = '{"epochs": 2, "overrides": {"resnet": {"epochs": 3}}}'


class Command(NamedTuple):
    """Hold a running `python -m mf_airflow.embedded`, and the mark that its family carries."""

    process: subprocess.Popen[str]
    mark: str
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def wait_until_said(self, pattern: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def family(self) -> list[str]:
        """Return the command lines of the living processes that descend from it."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append(command)
        return found


class Place(NamedTuple):
    """Hold the folders of one stack."""

    local: Path
    output: Path

    def command(self, *arguments: str) -> list[str]:
        folders = [f"--local={self.local}"]
        if arguments[0] == "run":
            folders.append(f"--output={self.output}")
        return [sys.executable, "-m", "mf_airflow.embedded", *arguments, *folders]

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[Command]:
        mark = uuid.uuid4().hex
        environment = os.environ | {
            "MF_TEST_MARK": mark,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
        }
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

    def done(self, *arguments: str) -> tuple[int, str]:
        with self.started(*arguments) as command:
            code = command.process.wait(240)
            assert command.family() == []
        return code, command.said()


class Run(NamedTuple):
    """Hold a run that has ended."""

    code: int
    said: str
    place: Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("stack")
    (ROOT / "dags" / "movielens_mf.py").touch()  # or a tick that was missed is caught up
    return Place(folder / "local", folder / "output")


@pytest.fixture(scope="module")
def run(place: Place) -> Run:
    """Give a run of all networks from an empty folder; no process of it is left."""
    return Run(*place.done("run", "--conf", CONF), place)


def test_it_succeeds_and_shows_every_task_and_epoch(run: Run) -> None:
    assert run.code == 0, run.said
    for task in ("plan", "download", "validate", "split", "train_mlp", "evaluate_mlp", "publish"):
        assert re.search(rf"{task} +done", run.said), run.said
    assert re.search(r"train_resnet +epoch 3 of 3, train RMSE 0\.\d{4}, valid RMSE", run.said)


def test_it_shows_a_table_of_results(run: Run) -> None:
    for name in networks.names():
        row = next(line for line in run.said.splitlines() if re.match(rf"│ {name} ", line))
        assert re.search(r"0\.9\d{3} │ 0\.9\d{3} – \d\.\d{4} │ 0\.\d{4} +│", row), row
    assert f"files: {run.place.output}/movielens_mf." in run.said


def test_a_copy_of_what_was_published_is_left(run: Run) -> None:
    latest = run.place.output / "latest"
    assert latest.is_symlink()
    there = published.open_folder(latest)
    assert there.manifest.run_id == latest.resolve().name
    assert {one.network for one in there.manifest.scores} == set(networks.names())
    assert all(0.85 < one.rmse < 1.05 for one in there.manifest.scores)
    assert there.manifest.dataset.sha256.startswith("06416e597f82b734")
    for name in ("manifest.json", "report.html", "comparison.html", "mlp/bundle"):
        assert (latest / name).exists()
    assert 1 <= there.bundle("mlp").predict([196], [242])[0] <= 5


def test_trainings_overlap_in_time(run: Run) -> None:
    times = _task_times(run.place)
    trainings = [times[f"train_{name}"] for name in networks.names()]
    assert max(start for start, _ in trainings) < min(end for _, end in trainings)


def test_a_run_that_is_done_in_time_has_no_deadline_any_more(run: Run) -> None:
    count = "SELECT (SELECT count(*) FROM deadline_alert), (SELECT count(*) FROM deadline)"
    assert _in_the_database(run.place, count) == [(1, 0)]


def test_secrets_are_the_owners_alone_and_in_no_log(run: Run) -> None:
    secrets = json.loads((run.place.local / "secrets.json").read_text())
    assert set(secrets) == {"password", "jwt_secret", "session_key", "fernet_key"}
    for file in (
        "secrets.json",
        "airflow/passwords.json",
        "postgres/password",
        "seaweedfs/s3.json",
    ):
        assert (run.place.local / file).stat().st_mode & 0o777 == 0o600, file
    for log in (run.place.local).rglob("*.log"):
        text = log.read_text(errors="replace")
        assert [name for name, value in secrets.items() if value in text] == [], log
    assert not any(value in run.said for value in secrets.values())


@pytest.mark.usefixtures("run")
def test_a_failed_run_exits_non_zero_and_shows_why(place: Place) -> None:
    before = (place.output / "latest").resolve()
    code, said = place.done("run", "--conf", '{"epoch": 3}')
    assert code == 1
    assert "plan failed; its log ends with:" in said
    assert "InvalidPlan: unknown parameter 'epoch'; did you mean 'epochs'?" in said
    assert (place.output / "latest").resolve() == before


@pytest.mark.usefixtures("run")
def test_a_signal_stops_everything_and_another_run_is_refused_until_then(place: Place) -> None:
    with place.started("run", "--conf", '{"epochs": 500, "networks": ["resnet"]}') as command:
        command.wait_until_said(r"train_resnet +epoch \d+ of 500")
        assert len(command.family()) > 8
        code, said = place.done("run")
        assert code == 1
        assert "a stack is running in this checkout already" in said
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(60) == 128 + signal.SIGTERM
        assert command.family() == []
        assert "stopped; nothing is left running" in command.said()


@pytest.mark.usefixtures("run")
def test_up_stays_with_the_ui_until_down(place: Place) -> None:
    with place.started("up") as command:
        command.wait_until_said("make down")
        address = re.search(r"http://127\.0\.0\.1:\d+", command.said())[0]
        user, password = re.search(r"login: +(\S+) / (\S+)", command.said()).groups()
        with httpx.Client(base_url=address, trust_env=False) as client:
            assert client.get("/").status_code == 200
            assert client.get("/api/v2/dags").status_code == 401
            answer = client.post("/auth/token", json={"username": user, "password": password})
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            assert client.get("/api/v2/importErrors").json()["total_entries"] == 0
            assert client.get("/api/v2/pools/gpu").json()["slots"] >= 3
            assert _unfinished(client) == []
        code, said = place.done("down")
        assert (code, said.strip()) == (0, "stopped")
        assert command.process.wait(30) == 128 + signal.SIGTERM
        assert command.family() == []
    assert place.done("down") == (0, "no stack is running here\n")


def test_parameters_that_are_no_json_are_refused_before_anything_starts(tmp_path: Path) -> None:
    place = Place(tmp_path / "local", tmp_path / "output")
    code, said = place.done("run", "--conf", "{preset: notebook}")
    assert code == 64
    assert "is not JSON" in said
    assert not place.local.exists()


def test_make_passes_parameters_as_they_are_written() -> None:
    conf = '{"preset": "notebook", "dataset": "file:///a b.csv"}'
    made = subprocess.run(
        ["make", "--silent", "run", f"CONF={conf}", "STACK=printf '%s\\n'"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.splitlines()[-3:] == ["run", "--conf", conf]


def _task_times(place: Place) -> dict[str, tuple[Any, Any]]:
    rows = _in_the_database(
        place,
        """
        SELECT task_id, start_date, end_date FROM task_instance
        WHERE run_id = (SELECT min(run_id) FROM dag_run)
        """,
    )
    return {task: (start, end) for task, start, end in rows}


def _in_the_database(place: Place, query: str) -> list[tuple[Any, ...]]:
    with servers.postgres(place.local / "postgres") as server:
        url = server.url.replace("postgresql+psycopg2", "postgresql")
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


def _unfinished(client: httpx.Client) -> list[str]:
    answer = client.get("/api/v2/dags/movielens_mf/dagRuns?state=queued").json()
    return [run["dag_run_id"] for run in answer["dag_runs"]]
