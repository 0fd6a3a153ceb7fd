"""How a file of the user's own is read: what `plan` takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from mftasks.errors import InvalidPlan
from mftasks.records import ReadConfig
from mftasks.steps.plan import resolve

OWN = "file:///data/ratings.csv"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scale": [1, 5]}, "scale belongs to a file of your own; how ml-100k is written is known"),
        ({"dataset": OWN, "scale": [5, 1]}, r"scale \[5, 1\] leaves no rating"),
        ({"dataset": OWN, "columns": {"usr": "a"}}, 'such as {"user": "reader"'),
        ({"dataset": OWN, "columns": {"user": 0}}, 'such as {"user": "reader"'),
        ({"dataset": OWN, "format": {"delim": ";"}}, 'such as {"delimiter": ";"'),
        ({"dataset": OWN, "missing": 99}, r"a list such as \[99\]"),
    ],
)
def test_how_a_file_is_read_is_refused_if_it_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        resolve("run", given)


def test_how_a_file_is_read_is_part_of_the_plan() -> None:
    given = {"columns": {"user": "reader", "rating": 3}, "missing": [99], "scale": [1, 5]}
    reading = resolve("run", {"dataset": OWN, **given}).reading
    assert reading.columns == given["columns"]
    assert (reading.missing, reading.scale) == ((99.0,), (1.0, 5.0))
    assert resolve("run", {}).reading == ReadConfig()
