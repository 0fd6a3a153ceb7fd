"""Check the data set of a run against the rules that training relies on, and describe it.

python -m mftasks validate --run-id try-1
"""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mftasks import progress
from mftasks.data import catalog, checks, formats, splitting
from mftasks.errors import InvalidDataset, InvalidPlan
from mftasks.records import Check, DatasetRef, Histogram, Profile, RunPlan, SplitConfig
from mftasks.store import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.table import RatingsTable
    from mftasks.progress import OnTick
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

_MANY_VALUES = 50
_BINS = 20


def validate(workspace: Workspace, run_id: str, *, on_tick: OnTick = progress.silent) -> Profile:
    """Check the downloaded data set, and return its profile with every check.

    Raises `InvalidDataset` with all failed checks, and writes nothing then.
    """
    key = keys.run(run_id, "profile.json")
    if (done := workspace.find_done(key, Profile)) is not None:
        return done
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    dataset = workspace.read(keys.run(run_id, "download.json"), DatasetRef)
    table = _read(workspace, dataset)
    tick = progress.Tick(work="validate", done=0, total=table.n_ratings, unit="ratings")
    on_tick(tick)
    found = checks.check(table, _expect(plan.dataset, plan.split))
    _refuse_failed(dataset, found)
    on_tick(msgspec.structs.replace(tick, done=table.n_ratings))
    return workspace.write(key, _describe(dataset, _leave_out(table, plan.split), found))


def _read(workspace: Workspace, dataset: DatasetRef) -> RatingsTable:
    try:
        return formats.read(workspace.fetch(dataset.ratings), dataset.format)
    except InvalidDataset as error:
        raise InvalidDataset(f"{dataset.name} from {dataset.source}: {error}") from error


def _expect(dataset: str, split: SplitConfig) -> checks.Expected:
    known = catalog.DATASETS.get(dataset)
    return checks.Expected(
        scale=known.scale if known else None,
        counts=known.counts if known else catalog.Counts(),
        needs_timestamps=split.strategy == "temporal" or split.as_of is not None,
    )


def _refuse_failed(dataset: DatasetRef, found: tuple[Check, ...]) -> None:
    failed = [check for check in found if not check.passed]
    for check in failed:
        if check.severity == "warning":
            log.warning("%s: %s: %s", dataset.name, check.name, check.detail)
    errors = [f"- {check.name}: {check.detail}" for check in failed if check.severity == "error"]
    if errors:
        raise InvalidDataset(
            f"{dataset.name} from {dataset.source} breaks {len(errors)} of {len(found)} rules:\n"
            + "\n".join(errors),
            n_rules=len(errors),
        )


def _leave_out(table: RatingsTable, split: SplitConfig) -> RatingsTable:
    """Return the ratings that the run is about: those before `as_of`, if there is such a moment."""
    if split.as_of is None:
        return table
    chosen = splitting.before(table, split)
    if not chosen.any():
        raise InvalidPlan(
            f"as_of {split.as_of:%Y-%m-%d %H:%M} leaves out all {table.n_ratings:,} ratings; "
            "choose a later moment"
        )
    return table._replace(
        users=table.users._replace(codes=table.users.codes[chosen]),
        items=table.items._replace(codes=table.items.codes[chosen]),
        ratings=table.ratings[chosen],
        timestamps=None if table.timestamps is None else table.timestamps[chosen],
    )


def _describe(dataset: DatasetRef, table: RatingsTable, found: tuple[Check, ...]) -> Profile:
    per_user, per_item = (np.bincount(ids.codes) for ids in (table.users, table.items))
    n_users, n_items = np.count_nonzero(per_user), np.count_nonzero(per_item)
    moments = table.timestamps if table.timestamps is not None else np.empty(0, np.int64)
    moments = moments[checks.plausible(moments)]  # the others were reported as a warning
    first, last = (
        (datetime.fromtimestamp(int(one), UTC) for one in (moments.min(), moments.max()))
        if len(moments)
        else (None, None)
    )
    return Profile(
        dataset=dataset,
        n_ratings=table.n_ratings,
        n_users=n_users,
        n_items=n_items,
        density=table.n_ratings / (n_users * n_items),
        mean_rating=float(table.ratings.mean(dtype="float64")),
        rating_counts=_count_by_value(table.ratings),
        first_rated=first,
        last_rated=last,
        ratings_per_user=_count_by_activity(per_user),
        ratings_per_item=_count_by_activity(per_item),
        ratings_per_month=_count_by_month(moments),
        checks=found,
    )


def _count_by_value(ratings: NDArray[np.float32]) -> dict[str, int]:
    """Count ratings by value, or by bin if there are too many values for a picture."""
    values, counts = np.unique(ratings, return_counts=True)
    if len(values) <= _MANY_VALUES:
        labels = [f"{value:g}" for value in values]
    else:
        counts, edges = np.histogram(ratings, bins=_BINS)
        labels = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    return dict(zip(labels, counts.tolist(), strict=True))


def _count_by_activity(each: NDArray[np.intp]) -> Histogram:
    """Count users (or items) by how many ratings they have, in bins that double: 1, 2–3, 4–7, …."""
    edges = 2.0 ** np.arange(int(each.max()).bit_length() + 1)
    counts, _ = np.histogram(each, edges)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _count_by_month(moments: NDArray[np.int64]) -> dict[str, int]:
    """Count ratings by month, "1997-09", from the first to the last, empty ones included."""
    if not len(moments):
        return {}
    months = moments.astype("datetime64[s]").astype("datetime64[M]")
    first = months.min()
    counts = np.bincount((months - first).astype(np.int64))
    return {str(first + month): int(count) for month, count in enumerate(counts)}
