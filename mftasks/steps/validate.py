"""Check the data set of a run against the rules that training relies on, and describe it.

Command line: `python -m mftasks validate --run-id RUN`
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mftasks import progress
from mftasks.data import catalog, checks, formats, splitting
from mftasks.data.checks import Expected
from mftasks.data.table import RatingsTable
from mftasks.errors import InvalidDataset, InvalidPlan
from mftasks.progress import Tick
from mftasks.records import Check, DatasetRef, Histogram, Profile, RunPlan, SplitConfig
from mftasks.store import keys

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    done = workspace.find_done(key, Profile)
    if done is not None:
        return done
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    dataset = workspace.read(keys.run(run_id, "download.json"), DatasetRef)
    table = _read(workspace, dataset)
    on_tick(Tick(work="validate", done=0, total=table.n_ratings, unit="ratings"))
    made = checks.check(table, _expected(plan.dataset, plan.split))
    _refuse_failed(dataset, made)
    on_tick(Tick(work="validate", done=table.n_ratings, total=table.n_ratings, unit="ratings"))
    return workspace.write(key, _profile(dataset, _leave_out(table, plan.split), made))


def _read(workspace: Workspace, dataset: DatasetRef) -> RatingsTable:
    try:
        return formats.read(workspace.fetch(dataset.ratings), dataset.format)
    except InvalidDataset as error:
        raise InvalidDataset(f"{dataset.name} from {dataset.source}: {error}") from error


def _expected(dataset: str, split: SplitConfig) -> Expected:
    needs_timestamps = split.strategy == "temporal" or split.as_of is not None
    known = catalog.DATASETS.get(dataset)
    return Expected(
        scale=known.scale if known else None,
        counts=known.counts if known else catalog.Counts(),
        needs_timestamps=needs_timestamps,
    )


def _refuse_failed(dataset: DatasetRef, made: tuple[Check, ...]) -> None:
    failed = [check for check in made if not check.passed]
    for check in failed:
        if check.severity == "warning":
            log.warning("%s: %s: %s", dataset.name, check.name, check.detail)
    errors = [f"- {check.name}: {check.detail}" for check in failed if check.severity == "error"]
    if errors:
        raise InvalidDataset(
            f"{dataset.name} from {dataset.source} breaks {len(errors)} of {len(made)} rules:\n"
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
    return RatingsTable(
        table.users._replace(codes=table.users.codes[chosen]),
        table.items._replace(codes=table.items.codes[chosen]),
        table.ratings[chosen],
        table.timestamps[chosen] if table.timestamps is not None else None,
    )


def _profile(dataset: DatasetRef, table: RatingsTable, made: tuple[Check, ...]) -> Profile:
    per_user, per_item = (_count(ids.codes) for ids in (table.users, table.items))
    n_users, n_items = len(per_user), len(per_item)
    moments = _plausible(table)
    return Profile(
        dataset=dataset,
        n_ratings=table.n_ratings,
        n_users=n_users,
        n_items=n_items,
        density=table.n_ratings / (n_users * n_items),
        mean_rating=float(table.ratings.mean(dtype="float64")),
        rating_counts=_rating_counts(table.ratings),
        first_rated=_moment(moments.min()) if len(moments) else None,
        last_rated=_moment(moments.max()) if len(moments) else None,
        ratings_per_user=_activity(per_user),
        ratings_per_item=_activity(per_item),
        ratings_per_month=_by_month(moments),
        checks=made,
    )


def _plausible(table: RatingsTable) -> NDArray[np.int64]:
    """Return the timestamps that can be believed; the others were reported as a warning."""
    import numpy as np

    if table.timestamps is None:
        return np.empty(0, np.int64)
    return table.timestamps[checks.plausible(table.timestamps)]


def _moment(seconds: np.int64) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _rating_counts(ratings: NDArray[np.float32]) -> dict[str, int]:
    """Count ratings by value, or by bin where there are too many values for a picture."""
    import numpy as np

    values, counts = np.unique(ratings, return_counts=True)
    if len(values) <= _MANY_VALUES:
        return {f"{value:g}": int(count) for value, count in zip(values, counts, strict=True)}
    counts, edges = np.histogram(ratings, bins=_BINS)
    return {
        f"{edges[bin]:.4g} to {edges[bin + 1]:.4g}": int(count) for bin, count in enumerate(counts)
    }


def _count(codes: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the number of ratings of each user or item that has any."""
    import numpy as np

    counts = np.bincount(codes)
    return counts[counts > 0]


def _activity(each: NDArray[np.intp]) -> Histogram:
    """Count users (or items) by how many ratings they have, in bins that double: 1, 2–3, 4–7, …."""
    import numpy as np

    edges = 2.0 ** np.arange(int(each.max()).bit_length() + 1)
    counts, _ = np.histogram(each, edges)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _by_month(moments: NDArray[np.int64]) -> dict[str, int]:
    """Count ratings by month, "1997-09", from the first to the last, empty ones included."""
    import numpy as np

    if not len(moments):
        return {}
    months = moments.astype("datetime64[s]").astype("datetime64[M]")
    first = months.min()
    counts = np.bincount((months - first).astype(np.int64))
    return {str(first + month): int(count) for month, count in enumerate(counts)}
