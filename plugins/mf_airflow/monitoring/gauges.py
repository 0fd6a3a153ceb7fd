"""Send what records hold, and which steps failed for what, to the metrics.

Names begin with `mf.`. A tag has few values: a network, a data set, its split, a severity, a step, a reason; never
a run or an epoch, each of which would be a series of its own for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from airflow.sdk.observability import stats

from mftasks.errors import InvalidDataset, MfError, StoreUnavailable
from mftasks.published.results import find_best
from mftasks.records import (
    DagRun,
    Evaluation,
    Interval,
    Manifest,
    Profile,
    Record,
    Severity,
)

SEVERITIES: tuple[Severity, ...] = ("error", "warning")
REASONS = ("empty", "missing", "bad", "duplicates")
CHECKING_STEPS = ("download", "validate")
RUN_TYPES = ("scheduled", "backfill", "asset_triggered")


class Gauge(NamedTuple):
    """One figure, with the name and the tags that it is sent under."""

    name: str
    value: float
    tags: dict[str, str]


def emit(record: Record, dataset: str = "") -> None:
    """Send the figures of a record; `dataset` names the data that an evaluation is of."""
    for gauge in gauges(record, dataset):
        stats.gauge(gauge.name, gauge.value, tags=gauge.tags)


@contextlib.contextmanager
def watching(step: str) -> Iterator[None]:
    """Count it if the step fails for its store, or for its data; the error goes on."""
    try:
        yield
    except MfError as error:
        if isinstance(error, StoreUnavailable):
            _store_failed(step)
        if isinstance(error, InvalidDataset) and step in CHECKING_STEPS:
            for gauge in _checks(error.n_rules, 0):
                stats.gauge(gauge.name, gauge.value, tags=gauge.tags)
        raise


def count_exit(step: str, code: int) -> None:
    """Count the exit of a step's process if its store did not answer."""
    if code == StoreUnavailable.exit_code:  # a heavy step has no source of data that might not
        _store_failed(step)


def gauges(record: Record, dataset: str = "") -> Iterator[Gauge]:
    """Return the figures of a record that are worth watching from run to run."""
    match record:
        case Profile():
            yield from _of_profile(record)
        case Evaluation():
            yield from _of_evaluation(record, tags_of(network=record.network, dataset=dataset))
        case Manifest():
            yield from _of_manifest(record)


def tags_of(**tags: str) -> dict[str, str]:
    """Return tags of which Airflow drops none: of letters, digits, dots, dashes, underscores."""
    return {
        name: stats.normalize_name_for_stats(value, log_warning=False)
        for name, value in tags.items()
    }


def _of_profile(profile: Profile) -> Iterator[Gauge]:
    tags = tags_of(dataset=profile.dataset.name)
    yield Gauge("mf.data.ratings", profile.n_ratings, tags)
    yield Gauge("mf.data.users", profile.n_users, tags)
    yield Gauge("mf.data.items", profile.n_items, tags)
    yield Gauge("mf.data.warnings", len(profile.warnings), tags)
    for reason in REASONS:
        n = profile.dropped.get(reason, 0)
        yield Gauge("mf.data.rows_dropped", n, tags | tags_of(reason=reason))
    failed = [check.severity for check in profile.checks if not check.passed]
    yield from _checks(*(failed.count(severity) for severity in SEVERITIES))


def _checks(*failed: int) -> Iterator[Gauge]:
    for severity, n in zip(SEVERITIES, failed, strict=True):
        yield Gauge("mf.data.checks_failed", n, tags_of(severity=severity))


def _of_evaluation(evaluation: Evaluation, tags: dict[str, str]) -> Iterator[Gauge]:
    yield from _interval("mf.evaluate.rmse", evaluation.rmse, evaluation.rmse_interval, tags)
    yield Gauge("mf.evaluate.mae", evaluation.mae, tags)
    for name, group in (("warm", evaluation.warm), ("cold", evaluation.cold)):
        if group:
            yield Gauge(f"mf.evaluate.rmse_{name}", group.rmse, tags)
            yield Gauge(f"mf.evaluate.ratings_{name}", group.n_ratings, tags)
    yield Gauge("mf.evaluate.baseline_rmse", evaluation.best_baseline[1], tags)


def _of_manifest(manifest: Manifest) -> Iterator[Gauge]:
    tags = tags_of(
        network=manifest.best,
        dataset=manifest.dataset.name,
        split=manifest.split_fingerprint[:8],
        run_type=_run_type(manifest.dag_run),
    )
    best = find_best(manifest)
    yield from _interval("mf.publish.rmse", best.rmse, best.rmse_interval, tags)
    yield Gauge("mf.publish.files", len(manifest.files), tags)
    yield Gauge("mf.publish.bytes", sum(file.n_bytes for file in manifest.files), tags)
    yield Gauge("mf.publish.timestamp_seconds", manifest.published_at.timestamp(), tags)


def _run_type(dag_run: DagRun | None) -> str:
    """Return what made a run, as Airflow's names of runs begin; whatever a person names is manual."""
    kind, marked, _ = (dag_run.run_id if dag_run else "").partition("__")
    return kind if marked and kind in RUN_TYPES else "manual"


def _interval(
    name: str, value: float, interval: Interval | None, tags: dict[str, str]
) -> Iterator[Gauge]:
    yield Gauge(name, value, tags)
    if interval is not None:
        yield Gauge(f"{name}_low", interval.low, tags)
        yield Gauge(f"{name}_high", interval.high, tags)


def _store_failed(step: str) -> None:
    stats.incr("mf.store.failures", tags=tags_of(step=step))
