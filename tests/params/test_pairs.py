from __future__ import annotations

import pytest

from mftasks.errors import InvalidPlan
from mftasks.params import pairs


def test_values_are_json_if_they_parse_as_such() -> None:
    given = ["epochs=5", "preset=notebook", 'networks=["mlp"]', "overrides.mlp.epochs=3", "a=b=c"]
    assert pairs.parse(given) == {
        "epochs": 5,
        "preset": "notebook",
        "networks": ["mlp"],
        "overrides": {"mlp": {"epochs": 3}},
        "a": "b=c",
    }


@pytest.mark.parametrize("given", [["epochs"], ["a=1", "a.b=2"]])
def test_a_pair_that_is_none_is_refused(given: list[str]) -> None:
    with pytest.raises(InvalidPlan, match=r"--set"):
        pairs.parse(given)


def test_a_message_shows_at_most_300_letters_of_a_pair() -> None:
    long = "x" * 10_000
    with pytest.raises(InvalidPlan) as refused:
        pairs.parse([f"{long}=1", f"{long}.b=2"])
    assert len(str(refused.value)) < 1_000
