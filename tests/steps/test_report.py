from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mftasks.errors import MissingRecord
from mftasks.records import Evaluation, ReportRef, RunPlan, TrainResult
from mftasks.steps.report import report
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import NETWORKS, RUN, evaluated_run, reported_run

PAGES = ("report.html", "comparison.html")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return reported_run(tmp_path)


@pytest.fixture
def record(workspace: Workspace) -> ReportRef:
    return workspace.read(keys.run(RUN, "report.json"), ReportRef)


def page(workspace: Workspace, name: str) -> str:
    return workspace.store.get(keys.run(RUN, name)).decode()


def test_it_holds_the_figures_of_every_network_of_the_plan(
    workspace: Workspace, record: ReportRef
) -> None:
    assert [score.network for score in record.scores] == list(NETWORKS)
    for score in record.scores:
        result = workspace.read(keys.network(RUN, score.network, "train.json"), TrainResult)
        evaluation = workspace.read(keys.network(RUN, score.network, "evaluation.json"), Evaluation)
        assert (score.rmse, score.mae, score.gain) == (
            *(evaluation.rmse, evaluation.mae, evaluation.gain),
        )
        assert score.baseline_rmse == evaluation.baselines[score.baseline]
        assert score.baseline_rmse == min(evaluation.baselines.values())
        assert score.valid_rmse == result.history[score.best_epoch - 1].valid_rmse


def test_it_points_at_records_and_copies_none_of_them(workspace: Workspace) -> None:
    stored = json.loads(workspace.store.get(keys.run(RUN, "report.json")))
    assert set(stored) == {"run_id", "best", "scores", "pages"}


def test_the_best_network_is_chosen_on_the_validation_part(tmp_path: Path) -> None:
    workspace = evaluated_run(tmp_path)
    _change_rmse(workspace, "mlp", rmse=0.1)
    _change_rmse(workspace, "linear", valid_rmse=0.2)

    assert report(workspace, RUN).best == "linear"
    assert "linear was chosen on the validation part" in page(workspace, "report.html")


def test_without_a_validation_part_the_test_part_decides_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    workspace = evaluated_run(tmp_path, "notebook")
    _change_rmse(workspace, "mlp", rmse=0.1)

    assert report(workspace, RUN).best == "mlp"
    assert "no validation part could choose" in page(workspace, "report.html")


def _change_rmse(
    workspace: Workspace,
    network: str,
    *,
    rmse: float | None = None,
    valid_rmse: float | None = None,
) -> None:
    """Give a network another RMSE on the test part, or on the validation part at every epoch."""
    name, kind = ("train", TrainResult) if rmse is None else ("evaluation", Evaluation)
    key = keys.network(RUN, network, f"{name}.json")
    record = workspace.read(key, kind)
    changed = (
        {"rmse": rmse}
        if isinstance(record, Evaluation)
        else {"history": tuple(replace(one, valid_rmse=valid_rmse) for one in record.history)}
    )
    workspace.store.put(key, msgspec.json.encode(replace(record, **changed)), "application/json")


def test_it_lists_the_pages_that_it_wrote(workspace: Workspace, record: ReportRef) -> None:
    assert [file.name for file in record.pages] == list(PAGES)
    for file in record.pages:
        data = workspace.store.get(file.key)
        assert (file.sha256, file.n_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (file.content_type, file.role) == ("text/html; charset=utf-8", "page")


def test_the_report_opens_with_the_answer(workspace: Workspace, record: ReportRef) -> None:
    best = next(one for one in record.scores if one.network == record.best)
    assert f"<h1>Best network: {best.network}, RMSE {best.rmse:.4f}</h1>" in page(
        workspace, "report.html"
    )


def test_a_network_that_could_not_be_loaded_is_shown_with_its_error(tmp_path: Path) -> None:
    workspace, key = evaluated_run(tmp_path), keys.run(RUN, "plan.json")
    error = "network ncf cannot be used: SyntaxError: invalid syntax"
    plan = replace(workspace.read(key, RunPlan), broken={"ncf": error})
    workspace.store.put(key, msgspec.json.encode(plan), "application/json")
    report(workspace, RUN)
    assert error in page(workspace, "report.html")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_nothing_from_elsewhere(workspace: Workspace, name: str) -> None:
    text = page(workspace, name)
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](?!data:)", text)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_carries_bokeh_once(workspace: Workspace, name: str) -> None:
    text = page(workspace, name)
    assert text.count("Bokeh Contributors") == 1
    assert len(text) < 1_600_000


def test_each_network_is_pictured_with_its_formula(workspace: Workspace) -> None:
    text = page(workspace, "report.html")
    assert text.count('<div class="box meet">predicted rating') == len(NETWORKS)
    assert text.count("⟨") >= len(NETWORKS)


def test_reporting_again_changes_nothing(workspace: Workspace, record: ReportRef) -> None:
    before = page(workspace, "report.html")
    assert report(workspace, RUN) == record
    assert page(workspace, "report.html") == before


def test_a_try_that_was_interrupted_after_its_first_page_is_completed(
    workspace: Workspace, record: ReportRef
) -> None:
    before = page(workspace, "report.html")
    workspace.store.delete(keys.run(RUN, "report.json"))
    workspace.store.delete(keys.run(RUN, "comparison.html"))
    completed = report(workspace, RUN)
    assert page(workspace, "report.html") == before
    assert completed.pages[0] == record.pages[0]


def test_a_network_that_is_not_evaluated_is_missed(tmp_path: Path) -> None:
    workspace = evaluated_run(tmp_path / "other")
    workspace.store.delete(keys.network(RUN, "mlp", "evaluation.json"))
    with pytest.raises(MissingRecord, match=r"mlp/evaluation\.json is not there"):
        report(workspace, RUN)
    assert not workspace.store.exists(keys.run(RUN, "report.html"))
