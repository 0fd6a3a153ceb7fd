"""Explain when an answer is no prediction: the network does not know the user or the item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mftasks.data.arrays import positions
from mftasks.errors import quote

if TYPE_CHECKING:
    from mftasks.bundle import Bundle
    from mftasks.data.arrays import Ids

MOST = 3


def explain(bundle: Bundle, *, user: str, item: str | None = None) -> str:
    """Return in words which of the ids training has not seen, empty if it has seen all."""
    asked = [("user", user, bundle.tables.user_ids)]
    if item is not None:
        asked.append(("item", item, bundle.tables.item_ids))
    unknown = [
        f"{kind} {quote(word)} is not in the training data{_suggest(word, known)}"
        for kind, word, known in asked
        if positions([word], known)[0] < 0
    ]
    return ", and ".join(unknown)


def _suggest(word: str, known: Ids) -> str:
    alike = [repr(one) for one in map(str, known.tolist()) if _normalize(one) == _normalize(word)]
    return f" (did you mean {' or '.join(alike[:MOST])}?)" if alike else ""


def _normalize(word: str) -> str:
    """Return an id without what people and programs get wrong: case, blanks, 007 and 7.0 for 7."""
    text = word.strip().casefold().removesuffix(".0")
    return text.lstrip("0") or text
