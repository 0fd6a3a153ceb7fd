"""Check the data set of a run against the rules that training relies on, and describe it.

python -m mftasks validate --run-id try-1
"""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING

import msgspec

from mftasks import progress, reading
from mftasks.data import catalog, checks, profiling, splitting, uris
from mftasks.errors import InvalidDataset, InvalidPlan
from mftasks.records import (
    Check,
    DatasetRef,
    Layout,
    Profile,
    ReadConfig,
    RunPlan,
    SplitConfig,
)
from mftasks.store import keys

if TYPE_CHECKING:
    from mftasks.data.table import RatingsTable
    from mftasks.progress import OnTick
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)


def validate(workspace: Workspace, run_id: str, *, on_tick: OnTick = progress.silent) -> Profile:
    """Check the downloaded data set, and return its profile with every check.

    Raises `InvalidDataset` with all failed checks, and writes nothing then.
    """
    key = keys.run(run_id, "profile.json")
    if (done := workspace.find_done(key, Profile)) is not None:
        return done
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    dataset = workspace.read(keys.run(run_id, "download.json"), DatasetRef)
    layout, cleaned = _read(workspace, dataset, plan.reading)
    table = cleaned.table
    tick = progress.Tick(work="validate", done=0, total=table.n_ratings, unit="ratings")
    on_tick(tick)
    found = (*checks.check(table, _expect(plan)), *cleaned.checks)
    _refuse_failed(dataset, found)
    on_tick(msgspec.structs.replace(tick, done=table.n_ratings))
    chosen = _leave_out(table, plan.split)
    profile = profiling.describe(dataset, layout, chosen, found, cleaned.dropped)
    return workspace.write(key, profile)


def _read(
    workspace: Workspace, dataset: DatasetRef, config: ReadConfig
) -> tuple[Layout, reading.Cleaned]:
    try:
        layout = reading.understand_stored(workspace, dataset, config)
        return layout, reading.load_stored(workspace, dataset, layout, config)
    except InvalidDataset as error:
        raise InvalidDataset(f"{_name(dataset)}: {error}{_point_to_inspect(dataset)}") from error


def _name(dataset: DatasetRef) -> str:
    return f"{dataset.name} from {uris.hide_password(dataset.source)}"


def _point_to_inspect(dataset: DatasetRef) -> str:
    """Return the command that shows a file of the user's own as it is understood, on a last line."""
    if dataset.layout is not None:
        return ""
    source = shlex.quote(uris.hide_password(dataset.source))
    return f"\nto see more: python -m mftasks inspect {source}"


def _expect(plan: RunPlan) -> checks.Expected:
    known = catalog.DATASETS.get(plan.dataset)
    return checks.Expected(
        scale=known.scale if known else None,
        bounds=plan.reading.scale,
        counts=known.counts if known else catalog.Counts(),
        needs_timestamps=plan.split.strategy == "temporal" or plan.split.as_of is not None,
    )


def _refuse_failed(dataset: DatasetRef, found: tuple[Check, ...]) -> None:
    failed = [check for check in found if not check.passed]
    for check in failed:
        if check.severity == "warning":
            log.warning("%s: %s: %s", dataset.name, check.name, check.detail)
    errors = [f"- {check.name}: {check.detail}" for check in failed if check.severity == "error"]
    if errors:
        raise InvalidDataset(
            f"{_name(dataset)} breaks {len(errors)} of {len(found)} rules:\n"
            + "\n".join(errors)
            + _point_to_inspect(dataset),
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
    return table.take(chosen)
