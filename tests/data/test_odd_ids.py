"""Ids that a spreadsheet or a program has damaged are a warning with examples, never refused."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mftasks.data import checks
from mftasks.data.catalog import WHOLE_STARS, Counts
from mftasks.data.checks import Expected
from mftasks.data.table import EncodedIds, RatingsTable
from mftasks.records import Check

OWN = Expected(None, Counts(), needs_timestamps=False)


def find_failed(users: list[str] | list[int], expected: Expected = OWN) -> list[Check]:
    """Return the rules that ratings of these users break; each user rates five items."""
    known, codes = np.unique(np.repeat(np.array(users), 5), return_inverse=True)
    n = len(codes)
    table = RatingsTable(
        EncodedIds(codes.astype(np.int32), known),
        EncodedIds((np.arange(n) % 5).astype(np.int32), np.arange(5)),
        (np.arange(n) % 5 + 1).astype(np.float32),
        None,
        name_place=lambda place: f"line {place + 2}",
    )
    return [check for check in checks.check(table, expected) if not check.passed]


@pytest.mark.parametrize(
    ("odd", "rule"),
    [
        ("6.30892E+11", "user_id is no rounded number"),
        ("6,30892E+11", "user_id is no rounded number"),
        ("1e5", "user_id is no rounded number"),
        ("NULL", "user_id is no word for nothing"),
        ("nan", "user_id is no word for nothing"),
        ("None", "user_id is no word for nothing"),
        ("n/a", "user_id is no word for nothing"),
        ("#N/A", "user_id is no word for nothing"),
        ("Total", "user_id is no line of totals"),
        ("SUM", "user_id is no line of totals"),
        (" Grand  Total", "user_id is no line of totals"),
        ("ANA", "user_id is spelt in one way"),
        ("ana\u200b", "user_id is spelt in one way"),
        ("\ufeffana", "user_id is spelt in one way"),
        ("ana\u00a0", "user_id is spelt in one way"),
        ("a\u00adna", "user_id is spelt in one way"),
        ("É", "user_id is spelt in one way"),
    ],
)
def test_an_odd_id_is_a_warning_with_its_line(odd: str, rule: str):
    found = [one for one in find_failed(["ana", "bob", "é", odd]) if "trimmed" not in one.name]
    assert [(one.name, one.severity) for one in found] == [(rule, "warning")]
    assert repr(odd) in found[0].detail
    assert "in line 17" in found[0].detail


@pytest.mark.parametrize(
    "fine",
    [
        ["0155061224", "038550120X", "B00005N5PF"],
        ["u1", "u2", "u10"],
        ["anna", "nano", "totally", "summer", "E11", "1E", "e+5"],
        ["zoë", "ζωή", "зоя", "ぞえ"],
        ["a-b", "a_b", "a b"],
        [5, 6, 2**62],
    ],
)
def test_usual_ids_are_no_warning(fine: list[str] | list[int]):
    assert find_failed(fine) == []


def test_negative_numbers_as_hashes_of_java_have_them_are_a_warning():
    [found] = find_failed([-7, 5, -9, 3])
    assert (found.name, found.severity) == ("user_id is not negative", "warning")
    assert found.detail.startswith("10 of 20: -7 in line 2, -7 in line 3")


def test_doubles_are_counted_and_the_first_of_them_named():
    [found] = find_failed(["ana", "Ana", "ANA", "bob", "Bob", "BOB"])
    assert found.detail == (
        "4 differ from another by case, blanks or invisible characters alone: "
        "'ANA' in line 12 and 'Ana' in line 7, 'BOB' in line 27 and 'Bob' in line 22, "
        "'ANA' in line 12 and 'ana' in line 2, …"
    )


def test_the_ids_of_a_release_are_not_suspected():
    assert find_failed(["ana", "Ana", "NULL"], Expected(WHOLE_STARS, Counts(), False)) == []


def test_many_ids_are_looked_at_at_once():
    """Half a million distinct words; one by one they would take seconds."""
    ids = EncodedIds(
        np.arange(500_000, dtype=np.int32), np.char.mod("user-%06d", np.arange(500_000))
    )
    table = RatingsTable(ids, ids, np.ones(500_000, np.float32), None)
    began = time.process_time()
    assert all(one.passed for one in checks.ids.suspect_ids(table, "user_id", ids))
    assert time.process_time() - began < 5
