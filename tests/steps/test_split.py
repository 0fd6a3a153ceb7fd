from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import reading
from mftasks.data import catalog
from mftasks.data.arrays import read_part, read_vocabulary
from mftasks.errors import MissingRecord
from mftasks.records import DatasetRef, Profile, SplitConfig, SplitRef
from mftasks.steps import split as split_step
from mftasks.steps.split import fingerprint, split
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.steps.splits import HASH, prepare, some_rows


def read_rows(workspace: Workspace, ref: SplitRef, name: str) -> list[tuple[int, int, float]]:
    """Return a part's ratings with ids in place of positions; an unseen id is -1."""
    part = read_part(workspace.fetch(ref.parts[name]))
    users, items = read_vocabulary(workspace.fetch(ref.vocabulary))
    user_ids = np.append(users, -1)[part.users.clip(-1)]
    item_ids = np.append(items, -1)[part.items.clip(-1)]
    triples = zip(user_ids.tolist(), item_ids.tolist(), part.ratings.tolist(), strict=True)
    return list(triples)


def test_each_rating_is_in_exactly_one_part(workspace: Workspace, tmp_path: Path):
    rows = some_rows()
    ref = split(workspace, prepare(workspace, tmp_path, rows, HASH))
    assert set(ref.parts) == {"train", "valid", "test"}
    found = [row for name in ref.parts for row in read_rows(workspace, ref, name)]
    assert sorted(found) == sorted((user, item, rating) for user, item, rating, _ in rows)
    assert {name: size.n_ratings for name, size in ref.sizes.items()} == {
        name: len(read_rows(workspace, ref, name)) for name in ref.parts
    }


def test_positions_are_of_the_sorted_ids_of_the_train_part(workspace: Workspace, tmp_path: Path):
    rows = some_rows()
    ref = split(workspace, prepare(workspace, tmp_path, rows, HASH))
    vocabulary = read_vocabulary(workspace.fetch(ref.vocabulary))
    part = read_part(workspace.fetch(ref.parts["train"]))
    assert vocabulary.user_ids.tolist() == sorted({row[0] for row in rows})
    assert sorted(set(part.users.tolist())) == list(range(len(vocabulary.user_ids)))
    assert sorted(set(part.items.tolist())) == list(range(len(vocabulary.item_ids)))
    assert (part.users.dtype, part.items.dtype, part.ratings.dtype) == ("int32", "int32", "float32")
    train = [row[2] for row in read_rows(workspace, ref, "train")]
    assert ref.mean_rating == pytest.approx(np.mean(train))
    assert (ref.min_rating, ref.max_rating) == (min(train), max(train))


def test_what_other_code_made_of_a_part_stays_beside(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A killed attempt of an older numpy, which writes other bytes, blocks nobody."""
    run_id = prepare(workspace, tmp_path, some_rows(), HASH)
    write = split_step.to_npz
    with monkeypatch.context() as patched:
        patched.setattr(split_step, "to_npz", lambda arrays: write(arrays) + b"older")
        patched.setattr(Workspace, "write", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception, match="killed"):
            split(workspace, run_id)
    ref = split(workspace, run_id)
    assert len(workspace.store.list(keys.split(ref.fingerprint))) == 2 * 4 + 1
    assert len(read_rows(workspace, ref, "train")) == ref.sizes["train"].n_ratings


def test_the_order_of_the_file_does_not_matter(workspace: Workspace, tmp_path: Path):
    rows = some_rows()
    first = split(workspace, prepare(workspace, tmp_path, rows, HASH, "a"))
    second = split(workspace, prepare(workspace, tmp_path, rows[::-1], HASH, "b"))
    assert first.fingerprint != second.fingerprint
    for name in first.parts:
        assert second.parts[name].sha256 == first.parts[name].sha256
    assert second.vocabulary.sha256 == first.vocabulary.sha256


def test_users_and_items_that_training_has_not_seen_are_counted(
    workspace: Workspace, tmp_path: Path
):
    rows = [(1, 1, 3.0, 1_000_000_000), (1, 2, 4.0, 1_000_000_001), (2, 1, 5.0, 1_000_000_002)]
    late = [(2, 9, 1.0, 1_100_000_000), (7, 1, 2.0, 1_100_000_001), (7, 9, 3.0, 1_100_000_002)]
    late += [(1, 1000, 3.0, 1_100_000_003), (2, 2, 4.0, 1_100_000_004)]
    config = SplitConfig(
        strategy="temporal",
        test_from=datetime.fromtimestamp(1_100_000_000, UTC),
        valid_fraction=0.0,
    )
    ref = split(workspace, prepare(workspace, tmp_path, rows + late, config))
    assert set(ref.parts) == {"train", "test"}
    size = ref.sizes["test"]
    assert (size.n_ratings, size.n_users, size.n_items) == (5, 3, 4)
    assert (size.n_unseen_users, size.n_unseen_items, size.n_unseen_ratings) == (1, 2, 4)
    assert sorted(read_rows(workspace, ref, "test")) == [
        *((-1, -1, 3.0), (-1, 1, 2.0), (1, -1, 3.0), (2, -1, 1.0), (2, 2, 4.0))
    ]


def test_users_that_training_has_not_seen_can_be_told_apart(workspace: Workspace, tmp_path: Path):
    rows = [(1, item, 3.0, 1_000_000_000) for item in range(1, 5)]
    rows += [(2, 9, 4.0, 1_000_000_000), (2, 1, 3.0, 1_100_000_000)]
    rows += [(user, item, 3.0, 1_100_000_000) for user in (7, 8, 9) for item in (1, 2, 50, 60)]
    moment = datetime.fromtimestamp(1_100_000_000, UTC)
    config = SplitConfig(strategy="temporal", test_from=moment, valid_fraction=0.0)
    ref = split(workspace, prepare(workspace, tmp_path, rows, config))
    part = read_part(workspace.fetch(ref.parts["test"]))
    unseen = part.users[part.users < 0]
    assert np.unique(unseen, return_counts=True)[1].tolist() == [4, 4, 4]
    assert len(np.unique(part.items[part.items < 0])) == 2


def test_what_as_of_leaves_out_is_counted(workspace: Workspace, tmp_path: Path):
    rows = some_rows()
    as_of = datetime.fromtimestamp(1_000_001_000, UTC)
    config = msgspec.structs.replace(HASH, as_of=as_of)
    ref = split(workspace, prepare(workspace, tmp_path, rows, config))
    assert ref.sizes["left_out"].n_ratings == len(rows) - 1000
    profile = workspace.read(keys.run("a", "profile.json"), Profile)
    assert profile.n_ratings == 1000
    assert profile.n_users == len({row[0] for row in rows[:1000]})
    assert sum(profile.ratings_per_user.counts) == profile.n_users


def test_string_ids_are_split_as_well(workspace: Workspace, tmp_path: Path):
    rows = [(f"u{user}", item, rating, at) for user, item, rating, at in some_rows()]
    ref = split(workspace, prepare(workspace, tmp_path, rows, HASH))  # type: ignore[arg-type]
    vocabulary = read_vocabulary(workspace.fetch(ref.vocabulary))
    assert vocabulary.user_ids.tolist() == sorted({row[0] for row in rows})
    assert vocabulary.item_ids.dtype == np.int64


def test_a_split_is_made_once_for_all_runs_on_the_same_data(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = some_rows()
    prepare(workspace, tmp_path, rows, HASH, "a")
    prepare(workspace, tmp_path, rows, HASH, "b")
    first = split(workspace, "a")
    monkeypatch.setattr(reading, "load", None)
    assert split(workspace, "b") == first
    assert split(workspace, "a") == first


def test_a_split_that_was_broken_off_is_finished(workspace: Workspace, tmp_path: Path):
    first = split(workspace, prepare(workspace, tmp_path, some_rows(), HASH, "a"))
    for key in (keys.run("a", "split.json"), f"splits/{first.fingerprint}/split.json"):
        workspace.store.delete(key)
    workspace.store.delete(first.parts["test"].key)
    assert split(workspace, "a") == first


def test_the_fingerprint_tells_data_configuration_and_version_apart(monkeypatch):
    marks = [
        fingerprint("a" * 64, HASH),
        fingerprint("b" * 64, HASH),
        *(
            fingerprint("a" * 64, msgspec.structs.replace(HASH, **{name: value}))
            for name, value in [
                ("salt", "other"),
                ("valid_fraction", 0.2),
                ("as_of", datetime(2020, 1, 1, tzinfo=UTC)),
            ]
        ),
    ]
    monkeypatch.setattr(split_step, "FORMAT_VERSION", split_step.FORMAT_VERSION + 1)
    marks.append(fingerprint("a" * 64, HASH))
    assert len(set(marks)) == len(marks) == 6


def test_canonical_takes_the_fold_in_the_order_of_the_file(workspace: Workspace, tmp_path: Path):
    order = np.random.default_rng(0).permutation(100_000).tolist()
    rows = [(line // 200, line % 200, float(line % 5 + 1), 1_000_000_000) for line in order]
    text = "".join("\t".join(f"{value:g}" for value in row[:3]) + "\t9\n" for row in rows).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    config = SplitConfig(strategy="canonical", fold=2)
    prepare(workspace, tmp_path, some_rows(), config)
    ref = DatasetRef(
        name="ml-100k",
        source="made here",
        layout=catalog.LAYOUTS["tab"],
        sha256=sha256,
        ratings=workspace.put_blob(f"datasets/{sha256}/u.data", text),
    )
    profile = workspace.read(keys.run("a", "profile.json"), Profile)
    workspace.store.delete(keys.run("a", "profile.json"))
    changed = msgspec.structs.replace(profile, dataset=ref, layout=catalog.LAYOUTS["tab"])
    workspace.write(keys.run("a", "profile.json"), changed)
    made = split(workspace, "a")
    expected = sorted((user, item, rating) for user, item, rating, _ in rows[20_000:40_000])
    assert read_rows(workspace, made, "test") == expected
    assert made.sizes["valid"].n_ratings == pytest.approx(8_000, abs=250)


def test_split_before_validate_is_refused(workspace: Workspace, tmp_path: Path):
    prepare(workspace, tmp_path, some_rows(), HASH)
    workspace.store.delete(keys.run("a", "profile.json"))
    with pytest.raises(MissingRecord, match=r"profile\.json is not there"):
        split(workspace, "a")
