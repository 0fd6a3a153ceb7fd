"""Two DAGs on two data sets: what each file with a call of `retraining` gives Airflow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import movielens_mf
import pytest
from airflow import plugins_manager
from airflow.sdk.exceptions import AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.file import might_contain_dag

from mf_airflow import retraining as retraining_module
from mf_airflow.mf_plugin import MfPlugin
from mf_airflow.retraining import retraining, skip_unless_chosen
from mftasks.errors import InvalidPlan

ROOT = Path(__file__).parents[2]
BOOKS = "s3://shop/ratings.parquet"


@pytest.fixture(scope="module")
def books() -> Any:
    return retraining("books_mf", BOOKS, "@daily", {"networks": ["mlp"], "epochs": 5})


def test_a_second_dag_has_its_own_data_set_schedule_and_defaults(books: Any) -> None:
    assert (books.dag_id, books.schedule.summary) == ("books_mf", "At 00:00")
    given = books.params.dump()
    assert (given["dataset"], given["networks"], given["epochs"]) == (BOOKS, ["mlp"], 5)
    assert BOOKS in books.description
    assert books.dag_display_name.startswith("books_mf: retraining on ratings-")


@pytest.mark.parametrize(
    "documented", [ROOT / "docs/your-ratings.md", Path(str(retraining_module.__file__))]
)
def test_airflow_takes_the_documented_file_for_one_of_dags(
    documented: Path, tmp_path: Path
) -> None:
    text = documented.read_text()
    begin = text.index("from mf_airflow.retraining import retraining")
    file = tmp_path / "books.py"
    file.write_text(text[begin : text.index(")", begin) + 1])
    assert "retraining(" in file.read_text()
    assert might_contain_dag(str(file), safe_mode=True)


def test_the_first_dag_is_as_it_was(books: Any) -> None:
    assert movielens_mf.dag.params["dataset"] == "ml-100k"
    assert movielens_mf.dag.params["epochs"] is None


def test_both_have_the_same_tasks_and_arrows(books: Any) -> None:
    first, second = (
        {task.task_id: task.downstream_task_ids for task in dag.tasks}
        for dag in (movielens_mf.dag, books)
    )
    assert first == second


def test_both_can_be_serialized_for_the_scheduler(
    books: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins_manager, "_get_plugins", lambda: ([MfPlugin], {}))
    for registry in ("timetables", "deadline_references"):
        getattr(plugins_manager, f"get_{registry}_plugins").cache_clear()
    for dag in (movielens_mf.dag, books):
        read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert read.dag_id == dag.dag_id


def test_tasks_are_grouped_for_the_eye_and_keep_their_names(books: Any) -> None:
    groups = {
        name: sorted(group.children)
        for name, group in books.task_group.children.items()
        if hasattr(group, "children")
    }
    assert groups["data"] == ["download", "split", "validate"]
    assert groups["network_mlp"] == ["evaluate_mlp", "train_mlp"]
    assert groups["result"] == ["publish", "report"]


def test_any_option_of_airflows_may_be_given() -> None:
    dag = retraining("mine", BOOKS, None, max_active_runs=2, default_args={"owner": "shop"})
    assert (dag.max_active_runs, dag.schedule) == (2, None)
    assert {(task.owner, task.retry_exponential_backoff) for task in dag.tasks} == {
        ("shop", 2.0),
        ("shop", 0),
    }


def test_a_network_that_is_not_trained_is_skipped_with_the_reason() -> None:
    planned = {"run_id": "mine.1-0", "networks": ["linear"]}
    context: Any = {"ti": SimpleNamespace(xcom_pull=lambda *, task_ids: planned)}
    skip_unless_chosen("linear", context)
    with pytest.raises(AirflowSkipException, match="mlp was not chosen; this run trains linear"):
        skip_unless_chosen("mlp", context)


def test_a_default_that_is_no_parameter_breaks_the_file_with_a_suggestion() -> None:
    with pytest.raises(InvalidPlan, match="did you mean 'epochs'"):
        retraining("books_mf", BOOKS, defaults={"epoch": 5})
