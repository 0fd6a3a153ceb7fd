"""Draw the report of a run: every network of the plan against each other and the baselines.

python -m mftasks report --run-id try-1
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mftasks import progress
from mftasks.published import results
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
from mftasks.store.blobs import sha256_of

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
    found = workspace.find_done(key, ReportRef)
    if found is not None:
        return found
    run = _gather(workspace, run_id)
    ref = ReportRef(
        run_id=run_id,
        best=run.best,
        scores=results.score_networks(run.results, run.evaluations),
        pages=tuple(_put_pages(workspace, run)),
    )
    log.info("report: %s is best of %d networks", run.best, len(run.results))
    return workspace.write(key, ref)


def _gather(workspace: Workspace, run_id: str) -> Report:
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    networks = [training.network for training in plan.trainings]
    evaluations = [
        workspace.read(keys.network(run_id, network, "evaluation.json"), Evaluation)
        for network in networks
    ]
    trained = [
        workspace.read(keys.network(run_id, network, "train.json"), TrainResult)
        for network in networks
    ]
    return Report(
        plan=plan,
        profile=workspace.read(keys.run(run_id, "profile.json"), Profile),
        split=workspace.read(keys.run(run_id, "split.json"), SplitRef),
        results=tuple(trained),
        evaluations=tuple(evaluations),
        best=_best(trained, evaluations),
    )


def _best(trained: list[TrainResult], evaluations: list[Evaluation]) -> str:
    """Return the network that is best on the validation part, or on the test part without one.

    Chosen on validation data alone, the published RMSE of the best network is not made to look
    better by the choice.
    """
    scores = {result.config.network: result.kept.valid_rmse for result in trained}
    if any(score is None for score in scores.values()):
        scores = {evaluation.network: evaluation.rmse for evaluation in evaluations}
    return min(scores, key=lambda network: scores[network] or 0.0)


def _put_pages(workspace: Workspace, run: Report) -> Iterator[PublishedFile]:
    from mftasks.plots import page

    for name, draw in (("report.html", page.report), ("comparison.html", page.comparison)):
        yield _put_page(workspace, keys.run(run.plan.run_id, name), name, draw(run))


def _put_page(workspace: Workspace, key: str, name: str, page: bytes) -> PublishedFile:
    """Put a page; one that an interrupted try left there stays, as Bokeh numbers plots anew."""
    if not workspace.store.put_if_absent(key, page, HTML):
        page = workspace.store.get(key)
    return PublishedFile(
        name=name,
        key=key,
        sha256=sha256_of(page),
        n_bytes=len(page),
        content_type=HTML,
        role="page",
    )
