"""Show in a terminal what was found out about a file of ratings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mftasks.data import uris
from mftasks.inspection import Inspection, write_conf
from mftasks.reading.describing import describe
from mftasks.terminal import plain

if TYPE_CHECKING:
    from mftasks.records import Check, Column, Profile

_WIDTH = 40
_HALF = 0.5
_TITLES: dict[Column, str] = {
    "user": "user",
    "item": "item",
    "rating": "rating",
    "timestamp": "time (UTC)",
}


def show(found: Inspection) -> RenderableType:
    """Return the page of an inspection, but for its last line."""
    parts = [_show_kind(found), _show_rows(found)]
    if found.profile is not None:
        parts += [_show_profile(found.profile, found), _show_histogram(found.profile)]
    return Group(*parts, _show_checks(found.checks))


def show_command(found: Inspection) -> Text:
    """Return the command that reads the files; it is one line, however long."""
    if found.settled is None:
        return Text("no parameter settles all that is refused: correct the file", style="bold red")
    conf = shlex.quote(write_conf(_shorten(found.source), found.settled))
    broken = any(one.severity == "error" and not one.passed for one in found.checks)
    lead = "if the likely causes are the true ones, it is read by" if broken else "it is read by"
    return Text(f"{lead}\n  {plain(f'make run CONF={conf}')}")


def _show_kind(found: Inspection) -> RenderableType:
    n_files, n_bytes = len(found.n_bytes), decimal(sum(found.n_bytes))
    size = n_bytes if n_files == 1 else f"{n_files:,} files, {n_bytes}"
    title = Text.assemble((str(plain(_shorten(found.source))), "bold"), f"  {size}")
    return Group(title, plain(describe(found.layout)))


def _shorten(source: str) -> str:
    """Return a path in the place of the URI of a file."""
    found = uris.parse(source)
    return found.path if found.scheme == "file" else source


def _show_rows(found: Inspection) -> RenderableType:
    """Show the first rows, under the columns that they were read from."""
    layout = found.layout
    shown = Table(title="the first rows, as understood", title_justify="left")
    for role, title in _TITLES.items():
        if role in layout.columns and layout.kind != "wide":
            name = layout.names[layout.columns[role]]
            shown.add_column(Text.assemble(title, "\n", (f"from {plain(name)}", "dim")))
        elif role != "timestamp":
            shown.add_column(title)
    for row in found.rows:
        shown.add_row(*map(plain, row))
    return shown


def _show_profile(profile: Profile, found: Inspection) -> RenderableType:
    shown = Table.grid(padding=(0, 2))
    for name, value in _describe(profile, found):
        shown.add_row(name, plain(value))
    return shown


def _describe(profile: Profile, found: Inspection) -> Iterator[tuple[str, str]]:
    yield "ratings", f"{profile.n_ratings:,}, mean {profile.mean_rating:.4g}"
    yield "users", f"{profile.n_users:,}, {profile.n_ratings / profile.n_users:.1f} ratings each"
    yield "items", f"{profile.n_items:,}, {profile.n_ratings / profile.n_items:.1f} ratings each"
    if profile.first_rated and profile.last_rated:
        yield "times", f"{profile.first_rated:%Y-%m-%d} to {profile.last_rated:%Y-%m-%d}"
    else:
        yield "times", "none; the split temporal cannot be used"
    left_out = ", ".join(f"{n:,} {why}" for why, n in profile.dropped.items())
    yield "left out", left_out or "no row"
    for split, share in found.cold.items():
        text = (
            f"{share:.0%} of a test part of 20 % are of users or items that training does not know"
        )
        yield f"split {split}", text + ("; no network can predict them" if share >= _HALF else "")


def _show_histogram(profile: Profile) -> RenderableType:
    """Draw how often each rating was given."""
    shown = Table.grid(padding=(0, 1))
    shown.add_column(justify="right")
    shown.add_column()
    shown.add_column(justify="right")
    most = max(profile.rating_counts.values())
    for value, n in profile.rating_counts.items():
        shown.add_row(value, "█" * max(round(_WIDTH * n / most), int(n > 0)), f"{n:,}")
    return shown


def _show_checks(checks: tuple[Check, ...]) -> RenderableType:
    failed = [one for one in checks if not one.passed]
    styles = {"error": ("refused", "bold red"), "warning": ("warning", "yellow")}
    lines = [
        Text.assemble(styles[one.severity], f"  {plain(f'{one.name}: {one.detail}')}")
        for one in sorted(failed, key=lambda one: one.severity)
    ]
    return Group(*lines) if lines else Text(f"all {len(checks)} rules hold")
