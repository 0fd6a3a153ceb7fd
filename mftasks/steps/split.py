"""Split the data set of a run into train, valid and test, and put the parts into the store.

python -m mftasks split --run-id try-1

The same data and configuration give the same parts, whatever the order of the file's rows, and are
kept once for all runs, under their fingerprint.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mftasks import progress, reading
from mftasks.data import splitting
from mftasks.data.arrays import Part, Vocabulary, to_npz
from mftasks.errors import InvalidPlan
from mftasks.records import (
    BlobRef,
    PartSize,
    Profile,
    ReadConfig,
    RunPlan,
    SplitConfig,
    SplitRef,
)
from mftasks.store import keys
from mftasks.store.blobs import sha256_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mftasks.data.arrays import Ids, Positions
    from mftasks.data.table import EncodedIds, RatingsTable
    from mftasks.progress import OnTick
    from mftasks.store.workspace import Workspace

    Rows = dict[str, NDArray[np.intp]]

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Raise it whenever the same data and configuration would give other parts, or other bytes."""

MOSTLY = 0.5
FEWEST_USERS, FEWEST_RATINGS = 30, 100

_NAMES = {"train": splitting.TRAIN, "valid": splitting.VALID, "test": splitting.TEST}


def split(workspace: Workspace, run_id: str, *, on_tick: OnTick = progress.silent) -> SplitRef:
    """Split the validated data set as the plan says, and return references to the parts.

    Raises `InvalidPlan` if the train or the test part would be empty, or if no test rating is of a
    user and an item that training knows.
    """
    key = keys.run(run_id, "split.json")
    if (done := workspace.find_done(key, SplitRef)) is not None:
        return done
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    profile = workspace.read(keys.run(run_id, "profile.json"), Profile)
    mark = fingerprint(profile.dataset.sha256, plan.split, plan.reading)
    shared_key = keys.split(mark, "split.json")
    ref = workspace.find(shared_key, SplitRef)
    if ref is None:
        dataset, layout = profile.dataset, profile.layout
        table = reading.load_stored(workspace, dataset, layout, plan.reading).table
        tick = progress.Tick(work="split", done=0, total=table.n_ratings, unit="ratings")
        on_tick(tick)
        ref = workspace.write(shared_key, _cut(workspace, table, dataset.sha256, plan))
        on_tick(msgspec.structs.replace(tick, done=table.n_ratings))
    sizes = ", ".join(f"{name} {size.n_ratings:,}" for name, size in ref.sizes.items())
    log.info("%s: %s, fingerprint %s", run_id, sizes, ref.fingerprint)
    for warning in ref.warnings:
        log.warning("%s: %s", run_id, warning)
    return workspace.write(key, ref)


def fingerprint(dataset_sha256: str, config: SplitConfig, how: ReadConfig | None = None) -> str:
    """Return what identifies a split: two RMSEs compare only if it is equal.

    How the data are read counts if a user says anything about it.
    """
    said = [] if how in (None, ReadConfig()) else [how]
    content = msgspec.json.encode(
        [FORMAT_VERSION, dataset_sha256, config, *said], order="deterministic"
    )
    return hashlib.sha256(content).hexdigest()


def _cut(workspace: Workspace, table: RatingsTable, dataset_sha256: str, plan: RunPlan) -> SplitRef:
    config = plan.split
    rows = _sort_by_part(table, splitting.assign(table, config))
    _refuse_empty(rows, config)
    user_rows, user_ids = _number(table.users, rows["train"])
    item_rows, item_ids = _number(table.items, rows["train"])
    mark = fingerprint(dataset_sha256, config, plan.reading)
    parts, sizes = {}, {}
    for name, chosen in rows.items():
        users, items = table.users.codes[chosen], table.items.codes[chosen]
        parts[name] = Part(user_rows[users], item_rows[items], table.ratings[chosen])
        sizes[name] = _count(parts[name], users, items)
    _refuse_unknown(sizes["test"], config)
    if left_out := table.n_ratings - sum(map(len, rows.values())):
        sizes["left_out"] = PartSize(n_ratings=left_out, n_users=0, n_items=0)
    trained = table.ratings[rows["train"]]
    return SplitRef(
        config=config,
        dataset_sha256=dataset_sha256,
        fingerprint=mark,
        parts={name: _put(workspace, mark, name, part) for name, part in parts.items()},
        vocabulary=_put(workspace, mark, "vocabulary", Vocabulary(user_ids, item_ids)),
        sizes=sizes,
        mean_rating=float(trained.mean(dtype="float64")),
        min_rating=float(trained.min()),
        max_rating=float(trained.max()),
        valid_from=_find_valid_from(table, rows, config),
        warnings=tuple(_warn(sizes)),
    )


def _put(workspace: Workspace, mark: str, name: str, arrays: Part | Vocabulary) -> BlobRef:
    """Put arrays under a key that names their bytes: what other code makes of them lies beside."""
    data = to_npz(arrays)
    return workspace.put_blob(keys.split(mark, f"{name}-{sha256_of(data)[:12]}.npz"), data)


def _sort_by_part(table: RatingsTable, assigned: NDArray[np.uint8]) -> Rows:
    """Return the rows of each part, sorted by user and item: the file's order never matters."""
    order = np.argsort(table.pair_keys())
    by_order = assigned[order]
    rows = {name: order[by_order == part] for name, part in _NAMES.items()}
    return {name: chosen for name, chosen in rows.items() if name != "valid" or len(chosen)}


def _refuse_empty(rows: Rows, config: SplitConfig) -> None:
    for name in ("train", "test"):
        if not len(rows[name]):
            counts = ", ".join(f"{part} {len(chosen):,}" for part, chosen in rows.items())
            raise InvalidPlan(
                f"split {config.strategy!r} leaves the {name} part empty ({counts}); "
                "change test_fraction, test_from or as_of"
            )


def _refuse_unknown(test: PartSize, config: SplitConfig) -> None:
    if test.n_unseen_ratings == test.n_ratings:
        raise InvalidPlan(
            f"split {config.strategy!r} leaves no test rating of which training knows the user and "
            f"the item: all {test.n_ratings:,} would be predicted by means, and no network tested; "
            "take more data, a smaller test_fraction, a later test_from, or split 'hash'"
        )


def _warn(sizes: dict[str, PartSize]) -> Iterator[str]:
    """Yield what makes a part a poor measure of a network."""
    for name in ("valid", "test"):
        if (part := sizes.get(name)) is None:
            continue
        share = part.n_unseen_ratings / part.n_ratings
        if share >= MOSTLY:
            yield (
                f"{share:.0%} of the {name} part's {part.n_ratings:,} ratings are of users or items "
                "that training does not know, and are predicted by means"
            )
        if part.n_ratings < FEWEST_RATINGS:
            yield (
                f"the {name} part has {part.n_ratings} ratings; an RMSE of fewer than {FEWEST_RATINGS} "
                "says little: take more data, or a larger part"
            )
        if part.n_users < FEWEST_USERS:
            yield (
                f"the {name} part has {part.n_users} users; figures of fewer than {FEWEST_USERS} "
                "depend on who they happen to be"
            )


def _find_valid_from(table: RatingsTable, rows: Rows, config: SplitConfig) -> datetime | None:
    if config.strategy != "temporal" or table.timestamps is None or "valid" not in rows:
        return None
    return datetime.fromtimestamp(int(table.timestamps[rows["valid"]].min()), UTC)


def _number(ids: EncodedIds, train: NDArray[np.intp]) -> tuple[Positions, Ids]:
    """Return the vocabulary row of each id, and the vocabulary.

    The ids that training lacks count down from -1, so that they stay distinct.
    """
    seen = np.bincount(ids.codes[train], minlength=len(ids.known)) > 0
    rows = np.where(seen, np.cumsum(seen) - 1, -np.cumsum(~seen)).astype(np.int32)
    return rows, ids.known[seen]


def _count(part: Part, users: Positions, items: Positions) -> PartSize:
    new_user, new_item = part.users < 0, part.items < 0
    return PartSize(
        n_ratings=len(part.ratings),
        n_users=_count_distinct(users),
        n_items=_count_distinct(items),
        n_unseen_users=_count_distinct(users[new_user]),
        n_unseen_items=_count_distinct(items[new_item]),
        n_unseen_ratings=int(np.count_nonzero(new_user | new_item)),
    )


def _count_distinct(codes: Positions) -> int:
    return int(np.count_nonzero(np.bincount(codes)))
