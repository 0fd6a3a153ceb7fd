from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from mf_airflow.monitoring import gauges
from mf_airflow.tasks import headlines, light_steps
from mf_airflow.tasks.gpu_step import GpuStepOperator
from mftasks.errors import InvalidDataset, StoreUnavailable
from mftasks.records import Evaluation, Manifest, Profile, TrainResult
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests import finished_run
from tests.finished_run import RUN
from tests.mf_airflow.state_store import StateStore

Sent = dict[tuple[str, ...], float]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Give a run that is published, in the store that the environment names."""
    workspace = finished_run.published_run(tmp_path)
    monkeypatch.setenv("MF_STORE", workspace.settings.store)
    monkeypatch.setenv("MF_CACHE", str(workspace.settings.cache))
    return workspace


def download(ratings: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan the run `try-1` of a file of `ratings`, and download it."""
    monkeypatch.setenv("MF_STORE", (folder / "store").as_uri())
    monkeypatch.setenv("MF_CACHE", str(folder / "cache"))
    monkeypatch.setenv("MF_DATA_ROOTS", str(folder))
    path = folder / "ratings.csv"
    path.write_text(ratings)
    light_steps.plan("try-1", {"dataset": path.as_uri()})
    light_steps.run_step("download", "try-1")


def broken_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MF_STORE", "s3://bucket/prefix")
    monkeypatch.setenv("MF_S3_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def test_a_validation_sends_what_the_data_hold_and_how_many_checks_failed(
    run: Workspace, sent: Sent
) -> None:
    light_steps.run_step("validate", RUN)
    profile = run.read(keys.run(RUN, "profile.json"), Profile)
    failed = [check for check in profile.checks if not check.passed]
    assert sent == {
        ("mf.data.ratings", "films"): profile.n_ratings,
        ("mf.data.users", "films"): profile.n_users,
        ("mf.data.items", "films"): profile.n_items,
        ("mf.data.warnings", "films"): len(failed),
        **{("mf.data.rows_dropped", "films", why): 0 for why in gauges.REASONS},
        ("mf.data.checks_failed", "error"): 0,
        ("mf.data.checks_failed", "warning"): len(failed),
    }


def test_rows_that_were_left_out_are_sent_by_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    download(
        "user_id,item_id,rating\n1,1,5\n1,1,5\n2,1,4\nANA,1,3\nana,2,4\n,,\n", tmp_path, monkeypatch
    )
    light_steps.run_step("validate", "try-1")
    [name] = {tags[1] for tags in sent if tags[0] == "mf.data.ratings"}
    dropped = {why: sent["mf.data.rows_dropped", name, why] for why in gauges.REASONS}
    assert dropped == {"empty": 1, "missing": 0, "bad": 0, "duplicates": 1}
    assert sent["mf.data.warnings", name] == 3


def test_data_that_break_rules_send_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    download("user_id,item_id,rating\n1,1,5\n1,1,4\n2,1,nan\n", tmp_path, monkeypatch)
    with pytest.raises(AirflowFailException) as raised:
        light_steps.run_step("validate", "try-1")
    n = str(raised.value).count("\n- ")
    assert n >= 2
    assert sent == {
        ("mf.data.checks_failed", "error"): n,
        ("mf.data.checks_failed", "warning"): 0,
    }


def test_data_that_cannot_be_read_are_one_failed_check(sent: Sent) -> None:
    with pytest.raises(InvalidDataset), gauges.watching("download"):
        raise InvalidDataset("the archive holds a path that leads out of it")
    assert sent["mf.data.checks_failed", "error"] == 1


def test_a_malformed_record_says_nothing_of_the_data(sent: Sent) -> None:
    with pytest.raises(InvalidDataset), gauges.watching("report"):
        raise InvalidDataset("runs/try-1/split.json is not a SplitRef")
    assert sent == {}


def test_an_evaluation_sends_its_rmse_with_the_interval_and_the_baseline(
    run: Workspace, sent: Sent
) -> None:
    headlines.summarize_network("evaluate", RUN, "mlp")
    made = run.read(keys.network(RUN, "mlp", "evaluation.json"), Evaluation)
    assert sent == {
        ("mf.evaluate.rmse", "mlp", "films"): made.rmse,
        ("mf.evaluate.rmse_low", "mlp", "films"): made.rmse_interval.low,
        ("mf.evaluate.rmse_high", "mlp", "films"): made.rmse_interval.high,
        ("mf.evaluate.mae", "mlp", "films"): made.mae,
        ("mf.evaluate.baseline_rmse", "mlp", "films"): min(made.baselines.values()),
    }


def test_a_publication_sends_when_it_was_and_how_good_the_best_network_is(
    run: Workspace, sent: Sent
) -> None:
    light_steps.run_step("publish", RUN)
    manifest = run.read(keys.run(RUN, "manifest.json"), Manifest)
    [best] = [one for one in manifest.scores if one.network == manifest.best]
    tags = (manifest.best, "films", manifest.split_fingerprint[:8], "manual")
    assert sent == {
        ("mf.publish.rmse", *tags): best.rmse,
        ("mf.publish.rmse_low", *tags): best.rmse_interval.low,
        ("mf.publish.rmse_high", *tags): best.rmse_interval.high,
        ("mf.publish.files", *tags): len(manifest.files),
        ("mf.publish.bytes", *tags): sum(file.n_bytes for file in manifest.files),
        ("mf.publish.timestamp_seconds", *tags): manifest.published_at.timestamp(),
    }


def test_a_training_sends_nothing_that_its_epochs_have_not_sent(run: Workspace, sent: Sent) -> None:
    headlines.summarize_network("train", RUN, "mlp")
    assert run.read(keys.network(RUN, "mlp", "train.json"), TrainResult)
    assert sent == {}


def test_a_light_step_that_cannot_reach_its_store_is_counted(
    monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    broken_store(monkeypatch)
    with pytest.raises(StoreUnavailable):
        light_steps.run_step("split", "try-1")
    assert sent == {("mf.store.failures", "split"): 1}


def test_a_heavy_step_that_cannot_reach_its_store_is_counted(
    monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    broken_store(monkeypatch)
    operator = GpuStepOperator(task_id="evaluate_mlp", step="evaluate", run_id="a", network="mlp")
    with pytest.raises(AirflowException, match="StoreUnavailable"):
        operator.execute({"task_state_store": StateStore()})
    assert sent == {("mf.store.failures", "evaluate"): 1}


def test_a_step_that_fails_otherwise_counts_nothing(sent: Sent) -> None:
    gauges.count_exit("train", 75)
    assert sent == {}


def test_a_record_that_cannot_be_read_back_is_counted_too(
    monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    broken_store(monkeypatch)
    with pytest.raises(StoreUnavailable):
        headlines.summarize_network("train", "try-1", "mlp")
    assert sent == {("mf.store.failures", "train"): 1}


def test_a_tag_holds_nothing_for_which_airflow_would_drop_the_metric(
    run: Workspace, sent: Sent
) -> None:
    profile = run.read(keys.run(RUN, "profile.json"), Profile)
    dataset = msgspec.structs.replace(profile.dataset, name="Ma été, (1)")
    gauges.emit(msgspec.structs.replace(profile, dataset=dataset))
    assert ("mf.data.ratings", "Ma__t____1_") in sent


@pytest.mark.parametrize("step", ["download", "validate", "split", "report"])
def test_a_step_that_is_cleared_but_done_logs_that_it_does_nothing(
    step: str, run: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    light_steps.run_step(step, RUN)
    assert [one for one in caplog.messages if "nothing to do; only a new run does it again" in one]
