from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mftasks import published
from mftasks.bundle import Bundle
from mftasks.published import unknown
from tests.finished_run import published_run


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return published.open_run(published_run(tmp_path)).bundle()


def test_what_is_known_needs_no_explanation(bundle: Bundle) -> None:
    assert unknown.explain(bundle, user="3", item="7") == ""
    assert unknown.explain(bundle, user="3") == ""


@pytest.mark.parametrize(
    ("user", "item", "sentence"),
    [
        ("nobody", "7", "user 'nobody' is not in the training data"),
        ("3", "9999", "item '9999' is not in the training data"),
        (
            "",
            "x",
            "user '' is not in the training data, and item 'x' is not in the training data",
        ),
        ("3.0", "7", "user '3.0' is not in the training data (did you mean '3'?)"),
    ],
)
def test_whoever_is_unknown_is_named(bundle: Bundle, user: str, item: str, sentence: str) -> None:
    assert unknown.explain(bundle, user=user, item=item) == sentence


@pytest.mark.parametrize(
    ("word", "alike"), [("ann", "'ANN'"), ("1", "'01' or '1.0'"), ("Bob ", "'bob'"), ("x", None)]
)
def test_ids_that_differ_by_case_blanks_or_spelling_of_a_number_are_suggested(
    word: str, alike: str | None
) -> None:
    tables = SimpleNamespace(user_ids=np.array(["01", "1.0", "ANN", "bob"]))
    found = unknown.explain(SimpleNamespace(tables=tables), user=word)
    hint = f" (did you mean {alike}?)" if alike else ""
    assert found == f"user {word!r} is not in the training data{hint}"
