"""Look at a file of ratings as the pipeline would, without training: what it is, and what it lacks."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from mftasks import params, progress, reading
from mftasks.data import catalog, checks, profiling, splitting, uris
from mftasks.data.fetching import gathering
from mftasks.data.table import MISSING
from mftasks.errors import InvalidDataset, InvalidPlan, quote
from mftasks.records import BlobRef, DatasetRef, ReadConfig, SplitConfig

if TYPE_CHECKING:
    from mftasks.data.table import RatingsTable
    from mftasks.progress import OnTick
    from mftasks.records import Check, Layout, Profile
    from mftasks.settings import Settings

FIRST_ROWS = 5
_SPLITS = {"hash": 0.2, "temporal": 0.2}
_MOST_ROUNDS = 5
_START_BYTES = 2_000


class Inspection(NamedTuple):
    """What was found out about files of ratings.

    `rows` are the first as understood; `profile` is None if no rating is usable. `cold` is, by split,
    the share of test ratings whose user or item the rest lacks. `settled` are parameters under which
    the files are read without an error; None if no parameter settles all.
    """

    source: str
    n_bytes: tuple[int, ...]
    layout: Layout
    rows: tuple[tuple[str, ...], ...]
    checks: tuple[Check, ...]
    profile: Profile | None
    cold: Mapping[str, float]
    settled: Mapping[str, Any] | None


def inspect(
    dataset: str, config: ReadConfig, settings: Settings, on_tick: OnTick = progress.silent
) -> Inspection:
    """Look at a data set of the user's own, as `config` says that it is to be read.

    A file of this host is read where it is. Raises `InvalidPlan` for a name of the catalogue, and
    `InvalidDataset`, with the first lines, if nothing can be read.
    """
    if not uris.is_uri(dataset):
        catalog.find(dataset)
        raise InvalidPlan(f"{dataset} is a release of MovieLens; give a file of your own, or a URI")
    uris.check(dataset)
    found = uris.parse(dataset)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(found.path)]
        if found.scheme != "file" or not paths[0].is_file():
            paths = gathering.gather(dataset, Path(folder), on_tick, settings)
        try:
            return _inspect_files(dataset, paths, config)
        except InvalidDataset as error:
            raise InvalidDataset(f"{error}{_show_start(paths[0])}") from error
        except OSError as error:
            raise InvalidPlan(
                f"data set {quote(dataset)} cannot be read: {error.strerror}"
            ) from error


def _inspect_files(dataset: str, paths: list[Path], config: ReadConfig) -> Inspection:
    layout = reading.understand(paths, config)
    read = reading.read(paths, layout, config)
    table, found, dropped = _judge(read, config)
    usable = table.take(np.isfinite(table.ratings))
    profile = _profile(dataset, layout, usable, found, dropped) if usable.n_ratings else None
    return Inspection(
        source=dataset,
        n_bytes=tuple(path.stat().st_size for path in paths),
        layout=layout,
        rows=tuple(
            _show_row(read.table, row) for row in range(min(FIRST_ROWS, read.table.n_ratings))
        ),
        checks=found,
        profile=profile,
        cold=dict(_measure_cold(usable)) if profile else {},
        settled=_settle(read, config, found),
    )


def write_conf(dataset: str, given: Mapping[str, Any]) -> str:
    """Return the `CONF=` of `make run` that reads a data set under parameters."""
    text = json.dumps({"dataset": dataset, **given}, ensure_ascii=False)
    return re.sub(r"(?<=\d)\.0(?=[],}])", "", text)


def _show_start(path: Path) -> str:
    """Return how a file begins that nobody understood, if it is text."""
    with path.open("rb") as file:
        text = file.read(_START_BYTES).decode("utf-8", "replace")
    if not text or re.search(r"[\x00-\x08\x0e-\x1a]", text):
        return ""
    lines = (f"  {line[:100]}" for line in text.splitlines()[:FIRST_ROWS])
    return "\n".join(["\nthe file begins:", *lines])


def _judge(
    read: reading.Reading, config: ReadConfig
) -> tuple[RatingsTable, tuple[Check, ...], dict[str, int]]:
    """Return the table that would be trained on, and every rule, as `validate` checks them."""
    cleaned = reading.clean(read, config)
    expected = checks.Expected(None, catalog.Counts(), False, config.scale)
    found = (*checks.check(cleaned.table, expected), *cleaned.checks)
    return cleaned.table, found, cleaned.dropped


def _settle(
    read: reading.Reading, config: ReadConfig, found: tuple[Check, ...]
) -> Mapping[str, Any] | None:
    """Try the remedies of the rules that are broken, until none is left."""
    given: dict[str, Any] = {
        name: value
        for name, value in msgspec.to_builtins(config).items()
        if value != msgspec.to_builtins(ReadConfig())[name]
    }
    for _ in range(_MOST_ROUNDS):
        broken = [one for one in found if one.severity == "error" and not one.passed]
        if not broken:
            return given
        remedies: dict[str, Any] = {}
        for one in broken:
            for name, value in one.remedy.items():
                adds = name == "missing" and name in remedies
                remedies[name] = remedies[name] + value if adds else value
        if not remedies or remedies.items() <= given.items():
            return None
        if "missing" in given and "missing" in remedies:
            remedies["missing"] = [*given["missing"], *remedies["missing"]]
        given |= remedies
        _, found, _ = _judge(read, params.parse(given).reading)
    return None


def _profile(
    dataset: str,
    layout: Layout,
    table: RatingsTable,
    found: tuple[Check, ...],
    dropped: dict[str, int],
) -> Profile:
    nowhere = BlobRef(key="", sha256="", n_bytes=0)
    ref = DatasetRef(name=catalog.identify(dataset), source=dataset, sha256="", ratings=nowhere)
    return profiling.describe(ref, layout, table, found, dropped)


def _measure_cold(table: RatingsTable) -> Iterator[tuple[str, float]]:
    """Yield which share of a test part of 20 % no network could know."""
    config = SplitConfig(strategy="hash", test_fraction=_SPLITS["hash"], valid_fraction=0.0)
    yield "hash", _find_cold(table, splitting.assign(table, config) == splitting.TEST)
    moments = table.timestamps
    if moments is not None and checks.plausible(moments).all():
        yield "temporal", _find_cold(table, moments > np.quantile(moments, 1 - _SPLITS["temporal"]))


def _find_cold(table: RatingsTable, tested: Any) -> float:
    unknown = np.zeros(int(np.count_nonzero(tested)), bool)
    for ids in (table.users, table.items):
        seen = np.bincount(ids.codes[~tested], minlength=len(ids.known)) > 0
        unknown |= ~seen[ids.codes[tested]]
    return float(unknown.mean()) if len(unknown) else 0.0


def _show_row(table: RatingsTable, row: int) -> tuple[str, ...]:
    """Return a row as it was understood: user, item, rating and time."""
    cells = [ids.known[ids.codes[row]].item() for ids in (table.users, table.items)]
    shown = ["" if cell == MISSING else str(cell) for cell in cells]
    rating = table.ratings[row]
    shown.append("" if np.isnan(rating) else f"{rating:g}")
    if table.timestamps is not None:
        seconds = int(table.timestamps[row])
        shown.append("" if seconds == MISSING else _show_moment(seconds))
    return tuple(shown)


def _show_moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return quote(seconds)
