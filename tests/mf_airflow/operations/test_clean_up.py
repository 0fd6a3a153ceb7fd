from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mf_airflow.operations import __main__ as operations
from mf_airflow.operations.logs import remove_logs
from mftasks.errors import MfError
from tests.finished_run import published_run
from tests.mf_airflow.operations.deployment import Deployments

OLD_SECONDS = 100 * 86_400


def test_one_command_removes_old_records_logs_runs_and_data(
    deployments: Deployments, tmp_path: Path
) -> None:
    database = deployments.copy("cleaned")
    database.ask(
        "UPDATE dag_run SET start_date = now() - interval '100 days', state = 'success'"
        " WHERE run_id = 'old'"
    )
    database.ask("UPDATE dag_run SET start_date = now() WHERE run_id = 'kept'")
    database.ask("UPDATE log SET dttm = now() - interval '100 days'")
    workspace = published_run(tmp_path)
    workspace.store.put("runs/dead/plan.json", b"{}", "application/json")
    logs = tmp_path / "logs"
    for path in (logs / "run_id=old/attempt=1.log", logs / "run_id=new/attempt=1.log"):
        path.parent.mkdir(parents=True)
        path.write_text("a line\n")
    for path in (tmp_path / "store/runs/dead/plan.json", *logs.rglob("run_id=old*/**")):
        _age(path)
    _age(logs / "run_id=old/attempt=1.log")
    _age(logs / "run_id=old")
    variables = {
        "MF_STORE": workspace.store.uri,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
    }
    before = workspace.store.list("")

    output = database.operate("clean-up", "--days", "90", "--dry-run", **variables)
    assert "runs/dead: 1 objects" in output
    assert "would remove: 1 logs" in output
    assert workspace.store.list("") == before
    assert database.runs() == ["kept", "old"]
    assert (logs / "run_id=old/attempt=1.log").exists()

    database.operate("clean-up", "--days", "90", **variables)
    assert database.runs() == ["kept"]
    assert database.ask("SELECT run_id FROM task_instance WHERE run_id = 'old'") == []
    assert database.ask("SELECT count(*) FROM log WHERE dttm < now() - interval '90 days'") == [
        (0,)
    ]
    assert database.ask("SELECT tablename FROM pg_tables WHERE tablename LIKE '_airflow%'") == []
    assert workspace.store.list("") == [key for key in before if "dead" not in key]
    assert [path.name for path in logs.rglob("*")] == ["run_id=new", "attempt=1.log"]


def _age(path: Path) -> None:
    moment = time.time() - OLD_SECONDS
    os.utime(path, (moment, moment))


def test_logs_that_are_written_to_stay_and_so_do_folders_that_are_new(tmp_path: Path) -> None:
    for name in ("old.log", "a/old.log", "a/new.log", "b/c/old.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("12345")
        if "old" in name:
            _age(tmp_path / name)
    (tmp_path / "new").mkdir()
    before = datetime.now(UTC) - timedelta(days=90)

    assert remove_logs(tmp_path, before, dry_run=True) == (3, 15)
    assert remove_logs(tmp_path, before, dry_run=False) == (3, 15)
    assert remove_logs(tmp_path, before, dry_run=False) == (0, 0)
    assert (tmp_path / "a/new.log").exists()
    assert (tmp_path / "new").exists()
    assert remove_logs(tmp_path / "nowhere", before, dry_run=False) == (0, 0)


def test_logs_and_folders_that_vanish_meanwhile_stop_nothing(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"run_id={number}").mkdir()
        (tmp_path / f"run_id={number}/attempt=1.log").touch()
    before = datetime.now(UTC) + timedelta(days=1)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(remove_logs, tmp_path, before, dry_run=False) for _ in range(2)]
    assert max(one.result()[0] for one in both) == 1000
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_when_it_is_looked_at_is_passed_over() -> None:
    own = Path("/proc/self/fd")  # lists the file descriptor by which it is listed
    assert remove_logs(own, datetime.now(UTC) + timedelta(days=1), dry_run=True)[0] > 0


def test_a_command_that_fails_ends_the_operation(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MfError, match="mftasks prune ended with exit code 2"):
        operations._run("mftasks", "prune")
    assert "-m mftasks prune" in capfd.readouterr().out
