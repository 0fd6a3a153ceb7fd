from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mftasks.errors import InvalidPlan
from mftasks.records import SplitConfig
from mftasks.steps.split import split
from mftasks.store.workspace import Workspace
from tests.steps.splits import Row, prepare, some_rows


def warm_and_cold(n_warm: int, n_cold: int) -> list[Row]:
    """Return a past of 40 users and 40 items, and a test of known pairs and of new users."""
    pairs = [(user, (user + step) % 40) for step in range(40) for user in range(40)]
    warm = [(*pair, 3.0, 1_100_000_000) for pair in pairs[:n_warm]]
    past = [(*pair, 4.0, 1_000_000_000) for pair in pairs[n_warm:]]
    return past + warm + [(100 + n, n % 40, 2.0, 1_100_000_000) for n in range(n_cold)]


TEMPORAL = SplitConfig(
    strategy="temporal", test_from=datetime.fromtimestamp(1_100_000_000, UTC), valid_fraction=0.0
)


def test_a_test_part_without_a_known_pair_is_refused(workspace: Workspace, tmp_path: Path):
    prepare(workspace, tmp_path, warm_and_cold(0, 50), TEMPORAL)
    with pytest.raises(InvalidPlan, match="all 50 would be predicted by means"):
        split(workspace, "a")
    assert workspace.store.list("splits/") == []


def test_a_test_part_of_mostly_unknown_pairs_is_warned_of(workspace: Workspace, tmp_path: Path):
    mostly = split(workspace, prepare(workspace, tmp_path, warm_and_cold(39, 50), TEMPORAL))
    assert mostly.warnings[0].startswith("56% of the test part's 89 ratings are of users or items")
    hardly = split(workspace, prepare(workspace, tmp_path, warm_and_cold(900, 50), TEMPORAL, "b"))
    assert hardly.warnings == ()


def test_a_test_part_of_few_users_is_warned_of(workspace: Workspace, tmp_path: Path):
    ref = split(workspace, prepare(workspace, tmp_path, warm_and_cold(25, 0), TEMPORAL))
    assert ref.warnings == (
        "the test part has 25 ratings; an RMSE of fewer than 100 says little: take more data, or a larger "
        "part",
        "the test part has 25 users; figures of fewer than 30 depend on who they happen to be",
    )


@pytest.mark.parametrize(("seconds", "empty"), [(1_200_000_000, "test"), (999_999_999, "train")])
def test_an_empty_part_is_refused_with_the_counts(
    workspace: Workspace, tmp_path: Path, seconds: int, empty: str
):
    config = SplitConfig(strategy="temporal", test_from=datetime.fromtimestamp(seconds, UTC))
    prepare(workspace, tmp_path, some_rows(), config)
    with pytest.raises(InvalidPlan, match=f"leaves the {empty} part empty .*{empty} 0"):
        split(workspace, "a")
    assert workspace.store.list("splits/") == []
