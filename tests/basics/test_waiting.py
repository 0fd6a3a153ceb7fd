from __future__ import annotations

import pytest

from tests.waiting import wait


def test_a_wait_in_vain_shows_what_was_waited_for_and_what_there_was_instead() -> None:
    arrived = ["a letter"]
    with pytest.raises(AssertionError, match=r'"a parcel" in arrived(.|\n)*a letter'):
        wait(lambda: "a parcel" in arrived, 0, lambda: arrived)
    assert wait(lambda: "a letter" in arrived, 0, str) < 1
