"""What looks wrong about ids: damaged by a spreadsheet, words for nothing, totals, near doubles.

None of it is refused, as an id may be anything. Distinct ids are looked at by pyarrow, not one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mftasks.data.checks.rule import DROP, NONE, Column, judge, list_first
from mftasks.data.table import MISSING, EncodedIds, RatingsTable
from mftasks.errors import quote

if TYPE_CHECKING:
    from mftasks.records import Check

_E_NOTATION = r"^[+-]?\d+([.,]\d+)?[eE]\+?\d+$"
_BLANK, _INVISIBLE = r"[\s\p{Z}]+", r"\p{Cf}+"
_NOTHING = (
    *("null", "(null)", "nan", "<na>", "none", "nil", "na", "n/a", "#n/a", "missing", "undefined"),
    *("unknown", "anonymous", "-", "--", "?"),
)
_TOTALS = ("total", "totals", "grand total", "sum", "average", "mean", "count")
_ODD_WORDS = {
    "is no rounded number": "ids in full; a spreadsheet has rounded these, and made several into one",
    "is no word for nothing": "an id; if these mean that there is none, remove their rows",
    "is no line of totals": "a user or an item; remove lines of totals",
}


def check_ids(table: RatingsTable, name: str, ids: EncodedIds, how_out: str) -> Iterator[Check]:
    """Yield the rules on ids that hold for any data; `how_out` follows what is wanted."""
    known: Any = ids.known
    column = Column(table, known, ids.codes)
    nothing: Any = MISSING if known.dtype.kind == "i" else ""
    remedy = DROP if how_out else NONE
    yield column.check(f"{name} is there", known != nothing, f"an id{how_out}", remedy=remedy)
    if known.dtype.kind != "i":
        wanted = "no blanks at either end, as `u1 ` and `u1` are two ids"
        yield column.check(f"{name} is trimmed", known == np.char.strip(known), wanted, "warning")


def suspect_ids(table: RatingsTable, name: str, ids: EncodedIds) -> Iterator[Check]:
    """Yield warnings about the ids of data whose meaning nobody has told us."""
    known: Any = ids.known
    column = Column(table, known, ids.codes)
    if known.dtype.kind == "i":
        holds = (known >= 0) | (known == MISSING)
        yield column.check(f"{name} is not negative", holds, "0 or more, as usual", "warning")
        return
    words = pa.array(known)
    folded = _fold(words)
    for (rule, wanted), odd in zip(_ODD_WORDS.items(), _find_odd(words, folded), strict=True):
        holds = ~odd.to_numpy(zero_copy_only=False)
        yield column.check(f"{name} {rule}", holds, wanted, "warning")
    yield _check_spelling(table, name, ids, folded)


def _fold(words: Any) -> Any:
    """Return words without what people overlook: case, blanks around, and invisible characters."""
    visible = pc.replace_substring_regex(pc.utf8_lower(words), _INVISIBLE, "")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(visible, _BLANK, " "))


def _find_odd(words: Any, folded: Any) -> Iterator[Any]:
    """Yield which words are of each odd kind, in the order of `_ODD_WORDS`."""
    yield pc.match_substring_regex(words, _E_NOTATION)
    yield pc.is_in(folded, pa.array(_NOTHING))
    yield pc.is_in(folded, pa.array(_TOTALS))


def _check_spelling(table: RatingsTable, name: str, ids: EncodedIds, folded: Any) -> Check:
    rule = f"{name} is spelt in one way"
    codes = folded.dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    doubles = np.flatnonzero(first[codes] != np.arange(len(codes)))
    if not len(doubles):
        detail = "no two differ by case, blanks or invisible characters alone"
        return judge(rule, True, detail, "warning")

    def show(place: int) -> str:
        row = int(np.argmax(ids.codes == place))
        return f"{quote(ids.known[place].item())} in {table.name_row(row)}"

    def describe(n: int) -> str:
        return f"{show(int(first[codes[doubles[n]]]))} and {show(int(doubles[n]))}"

    detail = (
        f"{len(doubles):,} differ from another by case, blanks or invisible characters alone: "
        f"{list_first(len(doubles), describe)}"
    )
    return judge(rule, False, detail, "warning")
