"""What a published run answers to one user, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from mftasks.published import unknown
from mftasks.terminal import plain

if TYPE_CHECKING:
    from mftasks.published.run import Published


def predict(run: Published, network: str | None, user: str, items: Sequence[str]) -> Iterator[str]:
    """Yield a line for each item: the predicted rating, the title, and by what it is predicted."""
    bundle, titles = run.bundle(network), run.titles()
    for item, rating in zip(items, bundle.predict(user, items), strict=True):
        fallback = unknown.explain(bundle, user=user, item=item)
        by = f"no prediction by {bundle.header.network}" if fallback else bundle.header.network
        source = f"({by}, {run.manifest.run_id}{fallback and ': '}{fallback})"
        yield f"{rating:.2f}  {titles.get(item, f'item {item}')}  {source}"


def recommend(run: Published, network: str | None, user: str, top: int) -> RenderableType:
    """Return a table of the items, not yet rated, that a user would rate highest."""
    bundle, titles = run.bundle(network), run.titles()
    title = plain(f"user {user}, by {bundle.header.network}, {run.manifest.run_id}")
    table = Table("rating", "item", "title", title=title)
    for item, rating in bundle.recommend(user, top, exclude=run.rated_by(user)):
        cells = (f"{rating:.2f}", str(item), titles.get(str(item), ""))
        table.add_row(*map(plain, cells))
    if fallback := unknown.explain(bundle, user=user):
        return Group(plain(f"{fallback}: these are the best items for everybody"), table)
    return table
