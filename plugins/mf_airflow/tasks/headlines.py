"""A record in a few figures: these, and never data, are what XCom carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mf_airflow.monitoring import gauges
from mftasks import records, settings
from mftasks.published.results import find_best
from mftasks.store import keys
from mftasks.store.workspace import Workspace

if TYPE_CHECKING:
    from mftasks.records import Record

Headline = dict[str, Any]

OF_RUN: dict[type[Record], str] = {
    records.RunPlan: "plan.json",
    records.DatasetRef: "download.json",
    records.Profile: "profile.json",
    records.SplitRef: "split.json",
    records.ReportRef: "report.json",
    records.Manifest: "manifest.json",
}
OF_NETWORK: dict[str, tuple[str, type[Record]]] = {
    "train": ("train.json", records.TrainResult),
    "evaluate": ("evaluation.json", records.Evaluation),
}


def summarize_run(run_id: str, record: Record) -> Headline:
    """Return the key of a run's record, with its figures."""
    return {"key": keys.run(run_id, OF_RUN[type(record)]), **pick_figures(record)}


def summarize_network(step: str, run_id: str, network: str) -> Headline:
    """Read what a step has written on a network; return its key with its figures."""
    name, kind = OF_NETWORK[step]
    key = keys.network(run_id, network, name)
    with gauges.watching(step):
        workspace = Workspace(settings.read())
        record = workspace.read(key, kind)
        dataset = workspace.read(keys.run(run_id, "download.json"), records.DatasetRef)
    gauges.emit(record, dataset.name)
    return {"key": key, **pick_figures(record)}


def pick_figures(record: Record) -> Headline:
    """Return the few figures of a record that a person looks at first."""
    match record:
        case records.RunPlan():
            networks = [training.network for training in record.trainings]
            return {"run_id": record.run_id, "dataset": record.dataset, "networks": networks}
        case records.DatasetRef():
            return {"source": record.source, "sha256": record.sha256}
        case records.Profile():
            warnings = [check.name for check in record.checks if not check.passed]
            return {"n_ratings": record.n_ratings, "warnings": warnings}
        case records.SplitRef():
            sizes = {name: size.n_ratings for name, size in record.sizes.items()}
            return {"fingerprint": record.fingerprint, "n_ratings": sizes}
        case records.TrainResult():
            return {"best_epoch": record.best_epoch, "seconds": round(record.seconds, 3)}
        case records.Evaluation():
            return {"rmse": record.rmse, "mae": record.mae, "n_ratings": record.n_ratings}
        case records.ReportRef() | records.Manifest():
            return {"best": record.best, "rmse": find_best(record).rmse}
        case _:
            return {}
