"""Times of ratings as seconds since 1970, from whatever a file writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mftasks.data.checks import plausible
from mftasks.data.table import MISSING

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNITS = {
    "seconds": 1,
    "milliseconds": 10**3,
    "microseconds": 10**6,
    "nanoseconds": 10**9,
}
"""Units of numbers, with what they are divided by."""

_EXCEL = (20_000, 80_000)  # days since 1899-12-30, as Excel has it: 1954 to 2119
_EXCEL_EPOCH = -2_209_161_600
_DAY = 86_400
_NOTHING = ("", "na", "n/a", "null", "none", "nan", "nat", "#n/a", "-")
_ISO = (
    r"^(?P<day>\d{4}[-/.]?\d{2}[-/.]?\d{2})(?:[T ]+(?P<time>\d{2}:?\d{2}(?::?\d{2})?)(?:[.,]\d+)?)?"
    r" ?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
)
_DAY_MONTH = (
    r"^(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<year>\d{4})"
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?:\.\d+)?)?$"
)
_AMBIGUOUS = "whether the day or the month comes first cannot be known"
_SHOWN = 3


class Moments(NamedTuple):
    """Seconds since 1970, `MISSING` if there is none; how they were written; what is not understood."""

    seconds: NDArray[np.int64]
    written: str
    n_unreadable: int = 0
    complaint: str = ""


def convert(column: Any) -> Moments:
    """Convert a chunked array of numbers, moments, days or words."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        seconds = column.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())
        return Moments(_to_numpy(seconds), "ISO 8601")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _convert_words(pc.utf8_trim_whitespace(column).combine_chunks())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _convert_numbers(column)
    n = len(column)
    return Moments(np.full(n, MISSING), "", n, f"they are of type {kind}")


def _convert_numbers(column: Any) -> Moments:
    if column.null_count == len(column):
        return Moments(np.full(len(column), MISSING), "", 0)
    exact = pa.types.is_integer(column.type)
    numbers = _to_numpy(column.cast(pa.int64())) if exact else _to_floats(column)
    sample = numbers[: 1 << 20]
    sample = sample[sample != MISSING] if exact else sample[np.isfinite(sample)]
    middle = float(np.median(sample)) if len(sample) else 0.0
    if _EXCEL[0] <= middle <= _EXCEL[1]:
        days = numbers.astype(np.float64)
        seconds = _round(np.rint(days * _DAY) + _EXCEL_EPOCH, (days > 0) & np.isfinite(days))
        return Moments(seconds, "days of Excel")
    fitting = (name for name, by in UNITS.items() if _is_plausible(middle / by))
    unit = next(fitting, "seconds")
    if not exact:
        return Moments(_round(numbers / UNITS[unit], np.isfinite(numbers)), unit)
    if unit != "seconds":
        numbers = np.where(numbers == MISSING, MISSING, numbers // UNITS[unit])
    return Moments(numbers.astype(np.int64, copy=False), unit)


def _is_plausible(seconds: float) -> bool:
    return abs(seconds) < 2.0**62 and bool(plausible(np.array([seconds], np.int64))[0])


def _convert_words(words: Any) -> Moments:
    """Convert words; those that no pattern fits are unreadable."""
    seconds = np.full(len(words), MISSING)
    nothing = pc.is_in(pc.utf8_lower(words), pa.array(_NOTHING))
    left = ~(_to_mask(nothing) | _to_mask(pc.is_null(words)))
    iso = pc.extract_regex(words, pattern=_ISO)
    fits = left & _to_mask(pc.is_valid(iso))
    if fits.any():
        seconds[fits] = _parse_iso(iso.filter(pa.array(fits)))
    written, complaint = ("ISO 8601" if fits.any() else ""), ""
    rest = left & (seconds == MISSING)
    if rest.any():
        parsed, complaint = _parse_day_month(words.filter(pa.array(rest)))
        seconds[rest] = parsed
        if (parsed != MISSING).any():
            written = "day, month and year"
        numbers = rest & (seconds == MISSING)
        if numbers.any():
            seconds[numbers] = _parse_numbers(words.filter(pa.array(numbers)))
    unreadable = left & (seconds == MISSING)
    n = int(unreadable.sum())
    if n and not complaint:
        shown = words.filter(pa.array(unreadable)).slice(0, 1000).unique().slice(0, _SHOWN)
        complaint = ", ".join(repr(str(word)[:40]) for word in shown.to_pylist())
    return Moments(seconds, written, n, complaint)


def _parse_numbers(words: Any) -> NDArray[np.int64]:
    """Convert words that are numbers, in a column that holds others, too."""
    plain = pc.match_substring_regex(words, r"^\d{9,10}(\.\d*)?$")
    numbers = pc.if_else(plain, words, None).cast(pa.float64())
    found = _to_floats(numbers)
    return _round(found, np.isfinite(found))


def _parse_iso(parts: Any) -> NDArray[np.int64]:
    """Return the seconds of matches of `_ISO`; an impossible day or time is `MISSING`."""
    day = pc.replace_substring_regex(parts.field("day"), pattern="[-/.]", replacement="")
    time = pc.replace_substring(parts.field("time"), pattern=":", replacement="")
    time = pc.utf8_rpad(time, width=6, padding="0")
    moments = pc.strptime(
        pc.binary_join_element_wise(day, time, ""),
        format="%Y%m%d%H%M%S",
        unit="s",
        error_is_null=True,
    )
    seconds = _to_numpy(moments.cast(pa.int64()))
    given = _to_numpy(pc.utf8_slice_codeunits(day, 6, 8).cast(pa.int64()))
    days = np.where(seconds == MISSING, 0, seconds) // _DAY
    seconds = np.where(
        _day_of_month(days) == given, seconds, MISSING
    )  # 31 February goes on to March
    zone = pc.replace_substring_regex(parts.field("zone"), pattern="[^0-9+-]", replacement="")
    if pc.any(pc.not_equal(zone, "")).as_py():
        seconds = np.where(seconds == MISSING, MISSING, seconds - _offsets(zone))
    return seconds


def _day_of_month(days: NDArray[np.int64]) -> NDArray[np.int64]:
    dates = days.astype("datetime64[D]")
    return np.asarray((dates - dates.astype("datetime64[M]")).astype(np.int64) + 1)


def _offsets(zones: Any) -> NDArray[np.int64]:
    coded = zones.dictionary_encode()
    known = np.array([_offset(zone) for zone in coded.dictionary.to_pylist()], np.int64)
    return np.asarray(known[coded.indices.to_numpy()])


def _offset(zone: str) -> int:
    digits = zone[1:].ljust(4, "0")
    if not digits.isdigit():
        return 0
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60
    return -seconds if zone.startswith("-") else seconds


def _parse_day_month(words: Any) -> tuple[NDArray[np.int64], str]:
    """Return seconds, and why they cannot be known, if so."""
    nothing = np.full(len(words), MISSING)
    parts = pc.extract_regex(words, pattern=_DAY_MONTH)
    fits = _to_mask(pc.is_valid(parts))
    if not fits.any():
        return nothing, ""
    parts = parts.filter(pa.array(fits))
    first, second = (_to_numpy(parts.field(name).cast(pa.int64())) for name in "ab")
    if (first.max() > 12) == (second.max() > 12):
        if first.max() > 12:
            return nothing, ""
        return nothing, f"{_AMBIGUOUS}, as in {words.filter(pa.array(fits))[0].as_py()!r}"
    day, month = (first, second) if first.max() > 12 else (second, first)
    year = _to_numpy(parts.field("year").cast(pa.int64()))
    clock = sum(
        _to_numpy(
            pc.if_else(pc.equal(parts.field(name), ""), "0", parts.field(name)).cast(pa.int64())
        )
        * by
        for name, by in (("hour", 3600), ("minute", 60), ("second", 1))
    )
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    possible = (month >= 1) & (month <= 12) & (_day_of_month(days) == day)
    nothing[fits] = np.where(possible, days * _DAY + clock, MISSING)
    return nothing, ""


def _to_mask(column: Any) -> NDArray[np.bool_]:
    return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), bool)


def _to_numpy(column: Any) -> NDArray[np.int64]:
    filled = column.fill_null(MISSING) if column.null_count else column
    chunks = filled.chunks if isinstance(filled, pa.ChunkedArray) else [filled]
    return np.concatenate([np.empty(0, np.int64), *(chunk.to_numpy() for chunk in chunks)])


def _to_floats(column: Any) -> NDArray[np.float64]:
    filled = column.cast(pa.float64(), safe=False).fill_null(float("nan"))
    chunks = filled.chunks if isinstance(filled, pa.ChunkedArray) else [filled]
    return np.concatenate([np.empty(0), *(chunk.to_numpy() for chunk in chunks)])


def _round(seconds: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return whole seconds; what is not known, or beyond all time, is `MISSING`."""
    known = known & (np.abs(seconds) < 2.0**62)
    return np.where(known, np.where(known, seconds, 0).astype(np.int64), MISSING)
