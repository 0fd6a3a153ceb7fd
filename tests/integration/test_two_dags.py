"""Two DAGs on two data sets, side by side on one stack and one store, with runs of one name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mf_airflow.embedded import environment, stack
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import ENDED, RequestRefused
from mftasks import settings
from mftasks.params import choices
from mftasks.records import Manifest
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.waiting import wait

DAG_FILE = """
from mf_airflow.retraining import retraining
dag = retraining({dag!r}, {dataset!r}, None, {{"networks": ["linear"]}})
"""
RUN = "same"
EMPTY_FORM = {one.name: None for one in choices.list_choices() if one.name != "dataset"}
SHOPS = ("films", "books")


def test_each_trains_on_its_own_data_and_a_cleared_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, shop in enumerate(SHOPS):
        _add_dag(tmp_path, shop, n_users=60 + number)
    _use_dags(tmp_path / "dags", monkeypatch)
    [port] = free_ports(1)
    with stack.running(tmp_path / "stack", port=port, scheduled=False) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        for shop in SHOPS:
            _trigger(running, shop, EMPTY_FORM | {"networks": ["linear"], "epochs": 2.0})
        with pytest.raises(RequestRefused, match=r"400.*ml-1oom"):
            _trigger(running, "films", {"dataset": "ml-1oom"})
        _wait_for_both(running)
        ids = {shop: _store_run_id(running, shop) for shop in SHOPS}
        assert {shop: _manifest(ids[shop]).dataset.name[:5] for shop in SHOPS} == {
            "films": "films",
            "books": "books",
        }

        chosen = {"dag_run_id": RUN, "task_ids": ["plan"], "include_downstream": True}
        how = {"dry_run": False, "only_failed": False}
        running.airflow.ask("POST", "/api/v2/dags/films/clearTaskInstances", chosen | how)
        _wait_for_both(running)
        assert _store_run_id(running, "films") == ids["films"]
        runs = {key.split("/")[1] for key in Workspace(settings.read()).store.list("runs/")}
        assert runs == set(ids.values())


def _add_dag(folder: Path, shop: str, n_users: int) -> None:
    data = folder / f"{shop}.csv"
    pairs = [(user, item) for user in range(n_users) for item in range(40)]
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user, item in pairs]
    data.write_text("\n".join(["user_id,item_id,rating", *rows]) + "\n")
    (folder / "dags").mkdir(exist_ok=True)
    text = DAG_FILE.format(dag=shop, dataset=data.as_uri())
    (folder / "dags" / f"{shop}.py").write_text(text)


def _use_dags(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = environment.airflow_environment

    def with_other_dags(*given: Any, **options: Any) -> dict[str, str]:
        return original(*given, **options) | {"AIRFLOW__CORE__DAGS_FOLDER": str(folder)}

    monkeypatch.setattr(environment, "airflow_environment", with_other_dags)


def _ask(running: stack.Stack, method: str, dag: str, path: str, body: Any = None) -> Any:
    return running.airflow.ask(method, f"/api/v2/dags/{dag}/dagRuns{path}", body)


def _trigger(running: stack.Stack, dag: str, conf: dict[str, Any]) -> None:
    _ask(running, "POST", dag, "", {"dag_run_id": RUN, "logical_date": None, "conf": conf})


def _wait_for_both(running: stack.Stack) -> None:
    def states() -> list[str]:
        return [_ask(running, "GET", shop, f"/{RUN}")["state"] for shop in SHOPS]

    wait(lambda: set(states()) <= set(ENDED), 180, lambda: json.dumps(states()))
    assert states() == ["success", "success"]


def _store_run_id(running: stack.Stack, dag: str) -> str:
    path = f"/{RUN}/taskInstances/plan/xcomEntries/return_value"
    value = _ask(running, "GET", dag, path)["value"]
    return str(value["run_id"])


def _manifest(run_id: str) -> Manifest:
    return Workspace(settings.read()).read(keys.run(run_id, "manifest.json"), Manifest)
