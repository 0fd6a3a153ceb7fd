"""What every rule about a table ends as: a `Check`, which names the first rows that break it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mftasks.data.table import MISSING, RatingsTable
from mftasks.errors import quote
from mftasks.records import Check, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SHOWN = 3
NONE: Mapping[str, Any] = {}
DROP = {"bad_rows": "drop"}


class Column(NamedTuple):
    """A column of a table: rating i has values[codes[i]], or just values[i]."""

    table: RatingsTable
    values: Any
    codes: NDArray[np.int32] | None = None

    def check(
        self,
        name: str,
        holds: Any,
        wanted: str,
        severity: Severity = "error",
        remedy: Mapping[str, Any] = NONE,
    ) -> Check:
        """Return the rule `name`, which `holds` says of each value; messages ask for `wanted`."""
        if holds.all():
            return judge(name, True, f"all as expected: {wanted}", severity)
        rows = np.flatnonzero(~(holds if self.codes is None else holds[self.codes]))
        shown = list_first(len(rows), lambda n: self._show_row(rows[n]))
        detail = f"{len(rows):,} of {self.table.n_ratings:,}: {shown}; expected {wanted}"
        return judge(name, False, detail, severity, remedy)

    def _show_row(self, row: int) -> str:
        value = self.values[row if self.codes is None else self.codes[row]]
        return f"{show_value(value)} in {self.table.name_row(row)}"


def judge(
    name: str,
    passed: bool,
    detail: str,
    severity: Severity = "error",
    remedy: Mapping[str, Any] = NONE,
) -> Check:
    """Return a rule, and whether it holds."""
    return Check(name=name, severity=severity, passed=passed, detail=detail, remedy=dict(remedy))


def list_first(n: int, describe: Callable[[int], str]) -> str:
    """Return what `describe` says of the first few of n things."""
    shown = ", ".join(describe(number) for number in range(min(n, MOST_SHOWN)))
    return f"{shown}, …" if n > MOST_SHOWN else shown


def show_value(value: Any) -> str:
    """Return a rating, an id or a moment, as an array holds it, in words."""
    if value.dtype.kind == "f":
        return "nothing" if value != value else f"{value:g}"
    return "nothing" if value in (MISSING, "") else quote(value.item())
