"""Draw the report of a run: every network of the plan against each other and the baselines.

python -m mftasks report --run-id try-1
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mftasks import progress
from mftasks.published import results
from mftasks.published.manifest import list_file
from mftasks.records import (
    Evaluation,
    Profile,
    PublishedFile,
    Report,
    ReportRef,
    RunPlan,
    SplitRef,
    TrainResult,
)
from mftasks.store import keys
from mftasks.store.blobs import refer_to

if TYPE_CHECKING:
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

HTML = "text/html; charset=utf-8"


def report(
    workspace: Workspace, run_id: str, *, on_tick: progress.OnTick = progress.silent
) -> ReportRef:
    """Write the pages, and the record that lists them.

    Raises `MissingRecord` if a network of the plan has not been trained and evaluated.
    """
    key = keys.run(run_id, "report.json")
    if (done := workspace.find_done(key, ReportRef)) is not None:
        return done
    run = _gather(workspace, run_id)
    ref = ReportRef(
        run_id=run_id,
        best=run.best,
        scores=tuple(map(results.score, run.results, run.evaluations)),
        pages=tuple(_put_pages(workspace, run)),
    )
    log.info("report: %s is best of %d networks", run.best, len(run.results))
    return workspace.write(key, ref)


def _gather(workspace: Workspace, run_id: str) -> Report:
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    networks = [training.network for training in plan.trainings]
    trained = tuple(
        workspace.read(keys.network(run_id, name, "train.json"), TrainResult) for name in networks
    )
    evaluations = tuple(
        workspace.read(keys.network(run_id, name, "evaluation.json"), Evaluation)
        for name in networks
    )
    return Report(
        plan=plan,
        profile=workspace.read(keys.run(run_id, "profile.json"), Profile),
        split=workspace.read(keys.run(run_id, "split.json"), SplitRef),
        results=trained,
        evaluations=evaluations,
        best=_choose_best(trained, evaluations),
    )


def _choose_best(trained: Sequence[TrainResult], evaluations: Sequence[Evaluation]) -> str:
    """Return the network that is best on the validation part, or on the test part without one.

    Chosen on validation data alone, the published RMSE of the best network is not made to look
    better by the choice.
    """
    scores = {result.config.network: result.kept.valid_rmse for result in trained}
    if any(score is None for score in scores.values()):
        scores = {evaluation.network: evaluation.rmse for evaluation in evaluations}
    return min(scores, key=lambda network: scores[network] or 0.0)


def _put_pages(workspace: Workspace, run: Report) -> Iterator[PublishedFile]:
    """Put the pages; one that an interrupted try left stays, as Bokeh numbers plots differently."""
    from mftasks.plots import page

    for name, draw in (
        ("report.html", page.render_report),
        ("comparison.html", page.render_comparison),
    ):
        key, drawn = keys.run(run.plan.run_id, name), draw(run)
        if not workspace.store.put_if_absent(key, drawn, HTML):
            drawn = workspace.store.get(key)
        yield list_file(name, refer_to(key, drawn), HTML, "page")
