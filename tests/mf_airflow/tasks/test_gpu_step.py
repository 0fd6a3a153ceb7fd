from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
)

from mf_airflow.tasks.gpu_step import GpuStepOperator, list_final_exit_codes, make_child_environment
from mftasks.records import TrainResult
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.mf_airflow.state_store import StateStore
from tests.mf_airflow.tasks.scripts import execute, reports, scripted


def test_a_training_logs_and_stores_its_progress_and_returns_headline_figures(
    split_run: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    operator = GpuStepOperator(task_id="train_mlp", step="train", run_id="try-1", network="mlp")
    returned, store = execute(operator)
    result = split_run.read(keys.network("try-1", "mlp", "train.json"), TrainResult)
    assert returned == {
        "key": "runs/try-1/mlp/train.json",
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 3),
    }
    key, last = store.values[-1]
    assert (key, last["done"], last["total"]) == ("progress", 3, 3)
    assert last["epoch"]["train_rmse"] == result.history[-1].train_rmse
    logged = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("train mlp: epoch ") for line in logged) == 3
    assert not any('{"work"' in line for line in logged)
    assert f"starts {sys.executable} -m mftasks train --run-id try-1 --network mlp" in logged


def test_a_step_that_ran_too_early_fails_at_once_with_the_reason(split_run: Workspace) -> None:
    operator = GpuStepOperator(task_id="eval", step="evaluate", run_id="try-1", network="mlp")
    with pytest.raises(AirflowFailException, match=r"^evaluate mlp: MissingRecord: .*train\.json"):
        execute(operator)


@pytest.mark.parametrize("code", [64, 65, 66])
def test_an_error_that_a_retry_cannot_fix_fails_at_once(code: int) -> None:
    with pytest.raises(AirflowFailException, match=f"exit code {code}.*\nno good"):
        execute(scripted(f"import sys; print('no good', file=sys.stderr); sys.exit({code})"))


@pytest.mark.parametrize("code", [1, 69, 70])
def test_any_other_error_is_retried(code: int) -> None:
    with pytest.raises(AirflowException, match=f"exit code {code}") as caught:
        execute(scripted(f"import sys; sys.exit({code})"))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    ("error", "reason", "at_least"),
    [
        ("NoDeviceFree: waited 600 s for 1 of 1 devices", "device", 55),
        ("Interrupted: stopped by SIGTERM", "interruption", 0),
    ],
)
def test_waiting_for_a_device_and_being_stopped_use_up_no_try_and_are_visible(
    error: str, reason: str, at_least: int, sent: dict[tuple[str, ...], float]
) -> None:
    store = StateStore()
    began = datetime.now(UTC)
    for _ in range(2):
        with pytest.raises(AirflowRescheduleException) as raised:
            scripted(reports(error, 75)).execute({"task_state_store": store})
    later = raised.value.reschedule_date - began
    assert timedelta(seconds=at_least) < later < timedelta(seconds=120)
    waits = [value for key, value in store.values if key == "waiting"]
    assert waits[-1]["since"] == waits[0]["since"]
    assert (waits[-1]["reason"], waits[-1]["until"]) == (reason, None)
    assert waits[-1]["detail"] == error.partition(": ")[2]
    assert sent["mf.train.waiting_seconds", "mlp", reason] > 0


def test_the_log_shows_the_sentence_that_helps_on_lines_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sentence = (
        "InvalidPlan: " + "there is no such thing as this, " * 5 + "choose device auto or cpu"
    )
    with pytest.raises(AirflowFailException, match=f"^train mlp: {sentence}$") as caught:
        execute(scripted(reports(sentence, 64)))
    assert caught.value.__suppress_context__
    shown = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert " ".join(shown) == f"train mlp: {sentence}"
    assert max(map(len, shown)) <= 100


def test_final_exit_codes_are_those_of_errors_that_are_not_retryable() -> None:
    assert list_final_exit_codes() == {64, 65, 66}


def test_lines_that_are_no_ticks_reach_the_log_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(AirflowException):
        execute(scripted("import sys; print('{\"work\" half'); print('é', file=sys.stderr); 1/0"))
    logged = [record.getMessage() for record in caplog.records]
    assert '{"work" half' in logged
    assert "é" in logged
    assert "ZeroDivisionError: division by zero" in logged


def test_a_child_sees_the_store_and_its_device_but_no_secret_of_airflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {
        "AIRFLOW__API_AUTH__JWT_SECRET": "x",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "x",
        "AIRFLOW_HOME": "x",
        "_AIRFLOW__AS_LIBRARY": "x",
        "CELERY_BROKER_URL": "x",
        "SOME_TOKEN": "x",
        "AWS_SECRET_ACCESS_KEY": "kept",
        "CUDA_VISIBLE_DEVICES": "kept",
        "MF_STORE": "kept",
        "OMP_NUM_THREADS": "kept",
        "PATH": "kept",
        "https_proxy": "kept",
        "MF_NOTIFY_SMTP": "x",
    }
    seen = make_child_environment(given)
    assert {name for name, value in seen.items() if value == "x"} == set()
    assert {name for name, value in seen.items() if value == "kept"} == {
        name for name, value in given.items() if value == "kept"
    }
    assert seen["MF_PROGRESS"] == "json"
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "x")
    with pytest.raises(AirflowException, match=r"killed \(SIGKILL\)"):
        execute(
            scripted(
                "import os; assert not any(n.startswith('AIRFLOW') for n in os.environ);"
                "os.kill(os.getpid(), 9)"
            )
        )
