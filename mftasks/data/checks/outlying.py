"""Find the lowest or highest few values of a distribution that do not belong to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODES = (-1, 9, 99, 999, 9999, 99999, -9, -99, -999, -9999)
"""Numbers that people write for "no answer"."""

_MOST = 3
_FAR_STEPS, _FAR_EXTENTS, _EVEN_STEPS, _REPEATED = 3, 3, 3, 3
_BOUNDED, _TIGHT, _ENOUGH = 10, 4, 100
_DECADE, _FAR_FEW, _FAR_COUNT, _FAR_TAIL = 10, 20, 100, 10_000
_BOTTOMS, _TOPS = (0, 0.5, 1), (1, 4, 5, 6, 7, 10, 20, 100)
_LARGEST_SHARE, _LARGEST_GROUP, _FEW_MISSED = 1 / 3, 0.05, 5


class Outlying(NamedTuple):
    """Up to three values, n of n_all ratings, that lie apart from the others, `low` to `high`."""

    values: NDArray[Any]
    n: int
    n_all: int
    low: float
    high: float
    is_error: bool


class _Cut(NamedTuple):
    """A distribution cut in two: the outer values, and the rest."""

    outer: NDArray[Any]
    n_outer: int
    rest: NDArray[Any]
    counts: NDArray[Any]
    is_high: bool

    @property
    def n_all(self) -> int:
        return self.n_outer + int(self.counts.sum())

    @property
    def gap(self) -> float:
        ends = (self.outer[0], self.rest[-1]) if self.is_high else (self.rest[0], self.outer[-1])
        return float(ends[0] - ends[1])

    @property
    def extent(self) -> float:
        return float(self.rest[-1] - self.rest[0])

    @property
    def usual(self) -> float:
        return float(np.median(np.diff(self.rest)))

    @property
    def times(self) -> float:
        """How many times the highest of the others the outer values are."""
        return float(self.outer[0] / self.rest[-1]) if self.is_high and self.rest[-1] > 0 else 0.0

    @property
    def is_code(self) -> bool:
        """Whether the outer values are codes, which are written above positive or below other ratings."""
        return bool(np.isin(self.outer, CODES).all() and (self.outer[0] > 0) == self.is_high)


def find_outlying(
    values: NDArray[Any], counts: NDArray[Any]
) -> tuple[list[Outlying], NDArray[Any], NDArray[Any]]:
    """Return what lies apart on either side, and the distribution that is left.

    `values` are sorted and distinct, `counts` say how often each is there.
    """
    found: list[Outlying] = []
    while len(found) < _MOST and (cut := _find_cut(values, counts)) is not None:
        low, high = float(cut.rest[0]), float(cut.rest[-1])
        is_error = not _may_be_meant(cut)
        found.append(Outlying(cut.outer, cut.n_outer, cut.n_all, low, high, is_error))
        values, counts = cut.rest, cut.counts
    return found, values, counts


def is_even(values: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Return whether values are the steps of a scale: about evenly apart, and given repeatedly."""
    steps = np.diff(values)
    if len(steps) < 2 or counts.sum() < _REPEATED * len(values):
        return False
    return bool(steps.max() <= _EVEN_STEPS * np.median(steps))


def looks_counted(values: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Return whether values look like counts, such as plays: most are the least that there is."""
    upper = counts[(len(counts) + 1) // 2 :].sum()
    return bool(0 <= values[0] <= 1 and counts[0] == counts.max() and upper < counts.sum() / 3)


def _find_cut(values: NDArray[Any], counts: NDArray[Any]) -> _Cut | None:
    for n in range(1, min(_MOST, len(values) - 2) + 1):
        for cut in (
            _Cut(values[-n:], int(counts[-n:].sum()), values[:-n], counts[:-n], True),
            _Cut(values[:n], int(counts[:n].sum()), values[n:], counts[n:], False),
        ):
            if _lies_apart(cut):
                return cut
    return None


def _lies_apart(cut: _Cut) -> bool:
    if _is_negative_code(cut):
        return True
    if len(cut.outer) > 1 and cut.n_outer > _LARGEST_GROUP * cut.n_all and not cut.is_code:
        return False
    if len(cut.rest) < 3:
        return cut.is_code and cut.gap > _DECADE * cut.extent
    if is_even(cut.rest, cut.counts):
        return _lies_off_scale(cut)
    if cut.is_code and cut.n_outer > max(1, cut.n_all / 1000) and cut.gap > cut.extent / 2:
        return True
    if _is_bounded(cut.rest, cut.counts) and cut.gap > _FAR_EXTENTS * cut.extent:
        return cut.rest[0] < 0 or cut.n_all >= _ENOUGH or cut.times > _FAR_FEW
    return cut.rest[0] >= 0 and cut.times > _FAR_TAIL


def _is_negative_code(cut: _Cut) -> bool:
    """Return whether a lone negative number below a scale, such as -1, is no step of it."""
    if cut.is_high or len(cut.outer) > 1 or not cut.is_code or cut.rest[0] < 0:
        return False
    return cut.gap > 1.5 * cut.usual or (len(cut.rest) >= 4 and bool(cut.rest[-1] >= 4))


def _lies_off_scale(cut: _Cut) -> bool:
    if cut.is_code and cut.gap > max(1.5 * cut.usual, cut.extent / 2):
        return True
    if cut.gap <= max(_FAR_STEPS * cut.usual, cut.extent * (1 if len(cut.rest) > 3 else _DECADE)):
        return False
    if not cut.is_high or cut.rest[0] < 0:
        return True
    if looks_counted(cut.rest, cut.counts):
        return cut.times > _FAR_COUNT
    return cut.n_all >= _ENOUGH or cut.times > _FAR_FEW


def _is_bounded(values: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Return whether values have no long tail, so that one far away is none of them."""
    ends = np.cumsum(counts)
    first, third = values[np.searchsorted(ends, ends[-1] * np.array([0.25, 0.75]))]
    spread, extent = third - first, values[-1] - values[0]
    if values[0] < 0 or values[-1] <= _DECADE * values[0]:
        return bool(extent <= _BOUNDED * spread)
    return bool(ends[-1] >= _ENOUGH and extent <= _TIGHT * spread)


def _may_be_meant(cut: _Cut) -> bool:
    """Return whether the outer value is the end of a usual scale of which few steps were used."""
    lowest, highest = min(cut.outer[0], cut.rest[0]), max(cut.outer[-1], cut.rest[-1])
    is_usual = highest <= _DECADE or (lowest in _BOTTOMS and highest in _TOPS)
    if lowest < 0 or not is_usual or cut.n_outer > _LARGEST_SHARE * cut.n_all:
        return False
    return not cut.is_high or (cut.n_all < _ENOUGH and cut.gap <= _FEW_MISSED * cut.extent)
