"""Files as other people write them are read right, and what is a guess is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mftasks import reading
from mftasks.records import ReadConfig
from tests.reading import tables
from tests.reading.layouts import EXAMPLES, OURS, ROWS, Example, write


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.what)
def test_a_layout_is_read_as_a_person_reads_it(tmp_path: Path, example: Example) -> None:
    path = tables.put(tmp_path, example.data)
    layout = tables.understand(path, **example.config)
    cleaned = reading.load([path], layout, ReadConfig(**example.config))
    found = sorted(tables.rows(cleaned.table), key=str)
    users_are_numbers = isinstance(found[0][0], int)
    expected = [
        (
            int(user) if users_are_numbers else user,
            item,
            float(np.float32(rating)),
            seconds if example.timed else None,
        )
        for user, item, rating, seconds in example.rows
    ]
    assert found == sorted(expected, key=str)
    assert bool(layout.guesses) == example.guessed, layout.guesses
    assert [
        check for check in cleaned.checks if check.severity == "error" and not check.passed
    ] == []


def test_a_layout_that_was_understood_reads_the_same_again(tmp_path: Path) -> None:
    path = tables.put(tmp_path, write(ROWS, OURS, ";"))
    layout = tables.understand(path)
    assert tables.rows(tables.read(path, layout).table) == tables.rows(tables.read(path).table)


def test_parts_are_read_as_one_and_their_lines_are_named(tmp_path: Path) -> None:
    first = tables.put(tmp_path, write(ROWS[:3], OURS), "part-0")
    second = tables.put(tmp_path, write(ROWS[3:], OURS) + "\n1,2,x,4\n", "part-1")
    layout = reading.understand([first, second], ReadConfig())
    found = reading.read([first, second], layout, ReadConfig())
    assert tables.rows(found.table) == list(ROWS)
    assert found.unreadable.examples == ("line 6 of part-1: rating 'x'; expected a number",)
    assert found.table.name_row(4) == "line 3 of part-1"


def test_the_documentation_lists_every_layout() -> None:
    page = (Path(__file__).parents[2] / "docs" / "your-ratings.md").read_text()
    assert [example.what for example in EXAMPLES if f"* {example.what}\n" not in page] == []


def test_an_unsure_column_is_named(tmp_path: Path) -> None:
    path = tables.put(tmp_path, "user_id,customer_id,item_id,rating\n1,7,2,3\n2,8,2,4\n")
    [guess] = tables.understand(path).guesses
    assert guess == "column 'user_id' is taken for the user, not 'customer_id'"


@pytest.mark.parametrize("n", [3, 200_000])
def test_line_breaks_in_cells_do_not_depend_on_the_size_of_the_file(tmp_path: Path, n: int) -> None:
    text = "user_id,item_id,rating,review\n" + "".join(
        f'{row},{row % 7},{row % 5 + 1},"first line\nsecond line"\n' for row in range(n)
    )
    table = tables.read(tables.put(tmp_path, text)).table
    assert table.n_ratings == n
    assert table.name_row(n - 1) == f"line {2 * n}"
    np.testing.assert_array_equal(table.ratings, np.arange(n) % 5 + 1)
