from __future__ import annotations

import pytest

from mftasks.errors import InvalidDataset
from mftasks.published.champion import find_champions
from mftasks.store.workspace import Workspace
from tests.published.stored_runs import (
    OLD,
    prune_older,
    put,
    put_run,
)


def test_a_champion_and_the_one_before_stay_with_their_data(workspace: Workspace) -> None:
    put_run(workspace, "best", OLD, data="a")
    put_run(workspace, "plain", OLD, data="b")
    put_run(workspace, "new", 1, data="c")
    put_run(workspace, "before", OLD, data="d")
    champion = {"run_id": "best", "previous": "before", "network": "mlp"}
    put(workspace, OLD, "champions/films.json", data=champion)
    gone = ["runs/plain", "datasets/b", "splits/b"]
    assert prune_older(workspace, dry_run=True) == gone
    assert prune_older(workspace) == gone
    assert workspace.store.exists("champions/films.json")


@pytest.mark.parametrize(
    "name", ["workspace", pytest.param("s3_workspace", marks=pytest.mark.server)]
)
def test_only_pointers_are_read_as_champions(name: str, request: pytest.FixtureRequest) -> None:
    workspace: Workspace = request.getfixturevalue(name)
    for key in ("champions/.films.json", "champions/films/history/1.json", "champions/notes.txt"):
        workspace.store.put(key, b"no pointer", "text/plain")
    workspace.store.put("champions/films.json", b'{"run_id": "best"}', "application/json")
    assert find_champions(workspace) == {"best"}


@pytest.mark.parametrize("broken", [{"network": "mlp"}, "best", None])
def test_nothing_goes_if_a_champion_cannot_be_read(workspace: Workspace, broken: object) -> None:
    put_run(workspace, "old", OLD, data="a")
    put_run(workspace, "new", OLD, data="a")
    put(workspace, OLD, "champions/films.json", data=broken)
    before = workspace.store.list("")
    with pytest.raises(InvalidDataset, match=r"champions/films\.json is not a champion"):
        prune_older(workspace)
    assert workspace.store.list("") == before
