"""What a run is called in the store, and for whom a plan was made."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from mf_airflow.tasks import light_steps, run_ids
from mftasks.records import DagRun
from tests.mf_airflow.state_store import StateStore

SCHEDULED = "scheduled__2026-11-29T00:00:00+00:00"


def test_a_cleared_plan_keeps_the_run_that_it_chose() -> None:
    state = StateStore()
    chosen = run_ids.choose("movielens_mf", SCHEDULED, state)
    assert run_ids.choose("movielens_mf", SCHEDULED, state) == chosen
    assert re.fullmatch(r"movielens_mf\.scheduled__2026-11-29T00-00-00-00-00-[0-9a-f]{8}", chosen)


def test_a_second_dag_and_a_fresh_database_have_runs_of_their_own() -> None:
    dags = ("movielens_mf", "movielens_mf", "books_mf")
    assert len({run_ids.choose(dag, SCHEDULED, StateStore()) for dag in dags}) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Évaluation du soir", "Evaluation-du-soir"),
        ("запуск", "run"),
        ("../../etc", "etc"),
        ("-x", "x"),
        ("a/b c", "a-b-c"),
        ("x" * 250, "x" * 80),
        ("", "run"),
    ],
)
def test_a_slug_is_short_and_needs_no_quoting(given: str, expected: str) -> None:
    assert run_ids.make_slug(given) == expected


@pytest.mark.parametrize("name", ["запуск", "-x", "日本", "x" * 250, "\x00", "a b"])
def test_whatever_airflow_takes_as_a_run_id_can_be_planned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MF_STORE", (tmp_path / "store").as_uri())
    run_id = run_ids.choose(name, name, StateStore())
    headline = light_steps.plan(run_id, {}, DagRun(dag_id=name, run_id=name))
    assert headline["run_id"] == run_id
    assert (tmp_path / "store/runs" / run_id / "plan.json").is_file()


def test_other_tasks_take_the_run_from_what_plan_returned() -> None:
    assert run_ids.read_run_id(task_instance({"run_id": "a.b-1"})) == "a.b-1"


def test_without_a_plan_a_task_fails_and_names_the_task_to_clear() -> None:
    with pytest.raises(AirflowFailException, match="plan of this run has returned nothing: clear"):
        run_ids.read_run_id(task_instance(None))


def task_instance(returned: Any) -> Any:
    return SimpleNamespace(xcom_pull=lambda *, task_ids: {"plan": returned}[task_ids])
