from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from airflow.configuration import AIRFLOW_HOME
from airflow.sdk.exceptions import AirflowFailException

from mf_airflow.tasks import light_steps
from mftasks.errors import SourceUnavailable


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MF_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MF_DATA_ROOTS", str(tmp_path))


def test_a_plan_returns_its_key_and_the_networks_that_were_chosen() -> None:
    assert light_steps.plan("try-1", {"networks": ["mlp"], "epochs": None}) == {
        "key": "runs/try-1/plan.json",
        "run_id": "try-1",
        "dataset": "ml-100k",
        "networks": ["mlp"],
    }


def test_an_unknown_parameter_fails_the_task_at_once_with_a_suggestion() -> None:
    with pytest.raises(
        AirflowFailException, match="unknown parameter 'epoch'; did you mean 'epochs"
    ):
        light_steps.plan("try-1", {"epoch": 3})


def test_a_step_that_ran_too_early_fails_the_task_at_once() -> None:
    with pytest.raises(AirflowFailException, match=r"MissingRecord: .*plan\.json is not there"):
        light_steps.run_step("download", "try-1")


def test_a_dead_source_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MF_MOVIELENS_URL", "file:///nowhere")
    light_steps.plan("try-1", {"dataset": "ml-1m"})
    with pytest.raises(SourceUnavailable):
        light_steps.run_step("download", "try-1")


def test_the_progress_of_a_step_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("user_id,item_id,rating\n1,1,5\n1,2,3\n2,1,4\n")
    light_steps.plan("try-1", {"dataset": ratings.as_uri()})
    returned = light_steps.run_step("download", "try-1")
    assert returned["key"] == "runs/try-1/download.json"
    assert any(record.getMessage().startswith("download: ") for record in caplog.records)


def test_whoever_triggers_a_run_reads_no_other_file_of_the_worker_unless_so_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MF_DATA_ROOTS")
    light_steps.plan("try-1", {"dataset": "/etc/passwd"})
    message = f"'/etc/passwd' lies outside the folders of MF_DATA_ROOTS, {AIRFLOW_HOME}/data; put"
    with pytest.raises(AirflowFailException, match=re.escape(message)):
        light_steps.run_step("download", "try-1")


def test_a_message_that_is_final_is_logged_in_lines_that_a_narrow_window_shows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(AirflowFailException) as failed:
        light_steps.plan("try-1", {"dataset": "ml-1oom"})
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert " ".join(lines) == str(failed.value)
    assert max(map(len, lines)) <= 100
    assert failed.value.__suppress_context__
    assert failed.value.__cause__ is None
