from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mftasks import published
from mftasks.data import catalog
from mftasks.published import index
from mftasks.records import Manifest
from mftasks.store import keys
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import Workspace
from tests.cli.command_line import answer
from tests.finished_run import DATASET, RUN, TITLES, published_run


@pytest.fixture
def hostile_run(tmp_path: Path) -> Workspace:
    """Give a published run whose items are called what rich and terminals would interpret."""
    workspace = published_run(tmp_path)
    manifest = workspace.read(keys.run(RUN, "manifest.json"), Manifest)
    titles = json.dumps({item: f"film [/x] \x1b[31m {item}" for item in TITLES}).encode()
    key = keys.run(RUN, "titles.json")
    workspace.store.put(key, titles, "application/json")
    files = tuple(
        replace(file, sha256=sha256_of(titles), n_bytes=len(titles)) if file.key == key else file
        for file in manifest.files
    )
    data = msgspec.json.encode(replace(manifest, files=files))
    workspace.store.put(keys.run(RUN, "manifest.json"), data, "application/json")
    return workspace


def test_each_item_is_marked_if_its_rating_is_no_prediction(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    items = ("--item", "7", "--item", "[/b]")
    code, out, err = answer("predict", "--user", "3", *items, tmp_path=tmp_path)
    assert code == 0, err
    known, unknown = out.splitlines()
    by = hostile_run.read(keys.run(RUN, "manifest.json"), Manifest).best
    assert known[4:] == rf"  film [/x] \x1b[31m 7  ({by}, {RUN})"
    assert unknown[4:] == (
        f"  item [/b]  (no prediction by {by}, {RUN}: item '[/b]' is not in the training data)"
    )


def test_recommendations_leave_out_all_that_the_user_has_rated(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    run = published.open_run(hostile_run)
    code, out, err = answer("recommend", "--user", "3", "--top", "40", tmp_path=tmp_path)
    assert code == 0, err
    rows = [line.split("│")[1:] for line in out.splitlines() if "│" in line]
    items = {int(row[1]) for row in rows}
    assert items == {*run.bundle().tables.item_ids.tolist()} - {*run.rated_by("3")}
    assert all(r"film [/x] \x1b[31m" in row[2] for row in rows)


def test_recommendations_to_a_stranger_are_marked_as_such(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    code, out, err = answer("recommend", "--user", "[b]x", "--network", "mlp", tmp_path=tmp_path)
    assert code == 0, err
    assert out.startswith(
        "user '[b]x' is not in the training data: these are the best items for everybody\n"
    )
    assert f"user [b]x, by mlp, {RUN}" in out


def test_with_several_data_sets_the_command_line_asks_for_one(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    manifest = hostile_run.read(keys.run(RUN, "manifest.json"), Manifest)
    uri = "s3://shop/ratings.csv"
    name = catalog.identify(uri)
    other = replace(manifest, run_id="shop", dataset=replace(manifest.dataset, name=name))
    hostile_run.write(keys.run("shop", "manifest.json"), other)
    index.put(hostile_run, other)
    for command in (("predict", "--user", "3", "--item", "7"), ("recommend", "--user", "3")):
        code, out, err = answer(*command, tmp_path=tmp_path)
        assert (code, out) == (64, "")
        assert f"2 data sets; name one by --dataset: {DATASET}, {name}" in err
        code, out, err = answer(*command, "--dataset", uri, tmp_path=tmp_path)
        assert code == 0, err
        assert ", shop" in out
    code, out, err = answer("runs", tmp_path=tmp_path)
    assert code == 0, err
    assert all(word in out for word in (DATASET, name, RUN, "shop"))
    code, out, err = answer("runs", "--dataset", DATASET, tmp_path=tmp_path)
    assert "shop" not in out


def test_the_copy_of_the_latest_run_answers_only_for_its_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = published_run(tmp_path)
    manifest = workspace.read(keys.run(RUN, "manifest.json"), Manifest)
    published.copy(workspace, manifest, tmp_path / "output/latest")
    workspace.store.delete_many(workspace.store.list(""))
    asked = ("predict", "--user", "3", "--item", "7")
    assert answer(*asked, tmp_path=tmp_path, MF_STORE="")[0] == 0
    assert answer(*asked, "--dataset", DATASET, tmp_path=tmp_path, MF_STORE="")[0] == 0
    code, _, err = answer(*asked, "--dataset", "ml-1m", tmp_path=tmp_path, MF_STORE="")
    assert (code, "holds no published run" in err) == (66, True)
