"""The real stack, end to end, on real ml-100k: what `make run`, `make up` and `make down` do."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg2
import pytest

from mf_airflow.embedded import servers
from mftasks import networks, published
from tests.integration.stack_commands import ROOT, Place

pytestmark = pytest.mark.server
CONF = '{"epochs": 2, "overrides": {"resnet": {"epochs": 3}}}'


class Run(NamedTuple):
    """A run that has ended."""

    code: int
    printed: str
    place: Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("stack")
    (ROOT / "dags" / "movielens_mf.py").touch()  # or a tick that was missed is caught up
    return Place(folder / "local", folder / "output")


@pytest.fixture(scope="module")
def run(place: Place) -> Run:
    """Give a run of all networks from an empty folder; no process of it is left."""
    foreign = {"AWS_PROFILE": "missing", "AWS_SESSION_TOKEN": "x", "MF_STORE": "s3://elsewhere"}
    cache = str(place.local.with_name("cache"))
    return Run(*place.run("run", "--conf", CONF, MF_CACHE=cache, **foreign), place)


def test_it_succeeds_and_shows_every_task_and_epoch(run: Run) -> None:
    assert run.code == 0, run.printed
    for task in ("plan", "download", "validate", "split", "train_mlp", "evaluate_mlp", "publish"):
        assert re.search(rf"{task} +done", run.printed), run.printed
    assert re.search(r"train_resnet +epoch 3 of 3, train RMSE 0\.\d{4}, valid RMSE", run.printed)


def test_it_shows_a_table_of_results(run: Run) -> None:
    for name in networks.names():
        row = next(line for line in run.printed.splitlines() if re.match(rf"│ {name} ", line))
        assert re.search(r"0\.9\d{3} │ 0\.9\d{3} – \d\.\d{4} │ 0\.\d{4} +│", row), row
    assert f"files: {run.place.output}/movielens_mf." in run.printed


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


def test_settings_for_another_store_are_named_and_not_used_but_the_cache_is(run: Run) -> None:
    [names] = re.findall(r"^not used here.*: (.*)$", run.printed, re.M)
    assert {"AWS_PROFILE", "AWS_SESSION_TOKEN", "MF_STORE"} <= set(names.split(", "))
    assert "MF_CACHE" not in names
    assert any(run.place.local.with_name("cache").iterdir())
    assert not (run.place.local / "cache").exists()


def test_trainings_overlap_in_time(run: Run) -> None:
    times = _read_task_times(run.place)
    trainings = [times[f"train_{name}"] for name in networks.names()]
    assert max(start for start, _ in trainings) < min(end for _, end in trainings)


def test_a_run_that_is_done_in_time_has_no_deadline_any_more(run: Run) -> None:
    count = "SELECT (SELECT count(*) FROM deadline_alert), (SELECT count(*) FROM deadline)"
    assert _ask_database(run.place, count) == [(1, 0)]


def test_state_and_secrets_are_the_owners_alone_and_in_no_log(run: Run) -> None:
    local = run.place.local
    secrets = json.loads((local / "secrets.json").read_text())
    assert set(secrets) == {"password", "jwt_secret", "session_key", "fernet_key"}
    assert local.stat().st_mode & 0o777 == 0o700
    for file in ("secrets.json", "airflow/passwords.json", "postgres/password"):
        assert (local / file).stat().st_mode & 0o777 == 0o600, file
    for log in local.rglob("*.log"):
        text = log.read_text(errors="replace")
        assert [name for name, value in secrets.items() if value in text] == [], log
    assert not any(value in run.printed for value in secrets.values())


def test_up_hands_out_what_is_published_and_stays_with_the_ui_until_down(run: Run) -> None:
    place = run.place._replace(output=run.place.output.with_name("output-of-up"))
    with place.start("up") as command:
        command.wait_for("files: ")
        printed = command.read()
        address = re.search(r"http://127\.0\.0\.1:\d+", printed)[0]
        user, password = re.search(r"login: +(\S+) / (\S+)", printed).groups()
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
            assert client.get("/").status_code == 200
            assert client.get("/api/v2/dags").status_code == 401
            answer = client.post("/auth/token", json={"username": user, "password": password})
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            assert client.get("/api/v2/importErrors").json()["total_entries"] == 0
            assert client.get("/api/v2/pools/gpu").json()["slots"] >= 3
            [shown] = client.get("/api/v2/dags/movielens_mf/dagRuns").json()["dag_runs"]
        manifest = published.open_folder(place.output / "latest").manifest
        assert re.match(rf"RMSE 0\.\d+: {manifest.best} is chosen.*/report\.html$", shown["note"])
        code, said = place.run("down")
        assert (code, said.strip()) == (0, "stopped")
        assert command.process.wait(30) == 128 + signal.SIGTERM
        assert command.find_family() == {}
    assert place.run("down") == (0, "no stack is running here\n")


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ("{preset: notebook}", "is not JSON"),
        ('{"networks": ["rezet"]}', "unknown network 'rezet'; did you mean 'resnet'?"),
    ],
)
def test_parameters_that_cannot_be_planned_are_refused_before_anything_starts(
    conf: str, expected: str, tmp_path: Path
) -> None:
    place = Place(tmp_path / "local", tmp_path / "output")
    code, printed = place.run("run", "--conf", conf)
    assert code == 64
    assert expected in printed.replace("\n", " ")
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


def _read_task_times(place: Place) -> dict[str, tuple[Any, Any]]:
    query = "SELECT task_id, start_date, end_date FROM task_instance"
    return {task: (start, end) for task, start, end in _ask_database(place, query)}


def _ask_database(place: Place, query: str) -> list[tuple[Any, ...]]:
    with servers.postgres(place.local / "postgres") as server:
        url = server.url.replace("postgresql+psycopg2", "postgresql")
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
