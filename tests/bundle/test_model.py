from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mftasks import bundle, networks
from mftasks.bundle import model
from mftasks.bundle.export import export
from mftasks.data.arrays import Part, Vocabulary
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.mx import mx
from mftasks.records import TrainConfig
from mftasks.store.workspace import Workspace

INT_IDS = Vocabulary(np.arange(60) * 3 + 5, np.arange(40) * 2 + 1)
STR_IDS = Vocabulary(
    np.array([f"user-{n:02}" for n in range(60)]), np.array([f"item-{n:02}" for n in range(40)])
)


def block(network: str, seed: int = 1) -> Any:
    """Make a network with weights large enough that predictions leave the rating scale."""
    mx.random.seed(seed)
    chosen = networks.load(network)
    made = chosen.build(
        networks.Sizes(60, 40, 3.5), chosen.Params(factors=8, embedding_scale=1.5), lazy=True
    )
    made.initialize()
    made.hybridize(static_alloc=True, static_shape=True)
    return made


def header(network: str, train: Part) -> bundle.Header:
    return bundle.Header(
        network=network,
        config=TrainConfig(network=network, params={}, epochs=1, batch_size=9, learning_rate=0.1),
        split_fingerprint="f" * 64,
        n_users=60,
        n_items=40,
        n_ratings=len(train.ratings),
        mean_rating=3.5,
        min_rating=1.0,
        max_rating=5.0,
        code_version="test",
        libraries={},
    )


def exported(
    folder: Path, train: Part, network: str = "linear", vocabulary: Vocabulary = INT_IDS
) -> Any:
    made = block(network)
    folder.mkdir()
    export(folder, made, header(network, train), vocabulary, train)
    return made


@pytest.fixture
def train(tiny_ratings: Part) -> Part:
    return tiny_ratings


@pytest.fixture
def folder(tmp_path: Path, train: Part) -> Path:
    exported(tmp_path / "bundle", train)
    return tmp_path / "bundle"


@pytest.fixture
def loaded(folder: Path) -> bundle.Bundle:
    return bundle.load(folder)


@pytest.mark.parametrize("network", networks.names())
def test_a_loaded_bundle_predicts_what_the_trained_block_does(
    tmp_path: Path, train: Part, network: str
) -> None:
    trained = exported(tmp_path / "bundle", train, network)
    sides = [mx.nd.array(side, dtype="int32") for side in (train.users, train.items)]
    predicted = bundle.load(tmp_path / "bundle").predict(
        INT_IDS.user_ids[train.users], INT_IDS.item_ids[train.items], clip=False
    )
    np.testing.assert_array_equal(predicted, trained(*sides)[0].asnumpy())
    assert predicted.dtype == np.float32


@pytest.mark.parametrize("network", networks.names())
def test_equal_weights_give_equal_bytes_however_many_networks_were_made_before(
    tmp_path: Path, train: Part, network: str
) -> None:
    for name in ("one", "two"):
        exported(tmp_path / name, train, network)
    for name in bundle.FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_files_are_those_that_the_index_lists_with_their_sha256(folder: Path) -> None:
    index = msgspec.json.decode((folder / bundle.INDEX).read_bytes(), type=bundle.Index)
    assert {path.name for path in folder.iterdir()} == set(bundle.FILES)
    assert index.files == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in bundle.FILES
        if name != bundle.INDEX
    }


def test_mxnet_alone_reads_the_symbol_and_the_parameters(folder: Path, train: Part) -> None:
    script = (
        "import sys, warnings, numpy; numpy.bool = bool; warnings.simplefilter('ignore')\n"
        "import mxnet as mx\n"
        "folder = sys.argv[1]\n"
        "net = mx.gluon.SymbolBlock.imports(folder + '/model-symbol.json', ['users', 'items'],"
        " folder + '/model-0000.params')\n"
        "print(float(net(mx.nd.array([3], dtype='int32'), mx.nd.array([4], dtype='int32')).asscalar()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True
    )
    expected = bundle.load(folder).predict(INT_IDS.user_ids[3], INT_IDS.item_ids[4], clip=False)
    assert float(said.stdout) == pytest.approx(float(expected), abs=1e-6)


def test_only_the_prediction_is_exported(folder: Path) -> None:
    assert mx.sym.load(str(folder / bundle.SYMBOL)).list_outputs() == ["plus_scalar_1_output"]


def test_predictions_are_clipped_to_the_rating_scale_unless_asked_otherwise(
    loaded: bundle.Bundle,
) -> None:
    users, items = np.repeat(INT_IDS.user_ids, 40), np.tile(INT_IDS.item_ids, 60)
    raw = loaded.predict(users, items, clip=False)
    assert raw.min() < 1
    assert raw.max() > 5
    np.testing.assert_array_equal(loaded.predict(users, items), raw.clip(1, 5))


def test_one_user_meets_many_items(loaded: bundle.Bundle) -> None:
    one_by_one = [float(loaded.predict(5, item)) for item in (1, 3, 5)]
    np.testing.assert_allclose(loaded.predict(5, [1, 3, 5]), one_by_one, rtol=1e-6)


def test_large_batches_are_predicted_in_chunks(
    loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, items = np.repeat(INT_IDS.user_ids, 40), np.tile(INT_IDS.item_ids, 60)
    whole = loaded.predict(users, items)
    monkeypatch.setattr(model, "CHUNK", 700)
    np.testing.assert_allclose(loaded.predict(users, items), whole, rtol=1e-5)


def test_an_unknown_user_gets_the_mean_of_the_item(loaded: bundle.Bundle, train: Part) -> None:
    mean = train.ratings[train.items == 7].mean()
    assert float(loaded.predict(-99, INT_IDS.item_ids[7])) == pytest.approx(mean)


def test_an_unknown_item_gets_the_mean_of_the_user(loaded: bundle.Bundle, train: Part) -> None:
    mean = train.ratings[train.users == 9].mean()
    assert float(loaded.predict(INT_IDS.user_ids[9], 2)) == pytest.approx(mean)


def test_an_unknown_user_and_item_get_the_mean(loaded: bundle.Bundle) -> None:
    assert float(loaded.predict("nobody", "nothing")) == 3.5
    assert loaded.predict_at(np.array([-1]), np.array([-1])).tolist() == [3.5]


def test_a_bundle_knows_whose_rating_is_no_prediction(loaded: bundle.Bundle) -> None:
    user, item = INT_IDS.user_ids[9], INT_IDS.item_ids[7]
    assert loaded.knows(user, [item, "nothing"]).tolist() == [True, False]
    assert loaded.knows(["nobody", user], item).tolist() == [False, True]


def test_positions_predict_as_their_ids_do(loaded: bundle.Bundle, train: Part) -> None:
    users, items = train.users.copy(), train.items.copy()
    users[::7], items[::5] = -1, -1
    ids = (
        np.where(at < 0, -1, known[at]) for at, known in zip((users, items), INT_IDS, strict=True)
    )
    np.testing.assert_array_equal(loaded.predict_at(users, items), loaded.predict(*ids))


def test_ids_may_be_words(tmp_path: Path, train: Part) -> None:
    exported(tmp_path / "words", train, vocabulary=STR_IDS)
    exported(tmp_path / "numbers", train)
    words, numbers = (bundle.load(tmp_path / name) for name in ("words", "numbers"))
    assert words.predict("user-03", "item-04") == numbers.predict(14, 9)
    assert words.predict("user-033", "item-04") == words.predict("nobody", "item-04")


def test_numbers_may_be_given_as_words(loaded: bundle.Bundle) -> None:
    np.testing.assert_array_equal(
        loaded.predict(["5", "8", "x5", "9" * 30], 1), loaded.predict([5, 8, -1, -1], 1)
    )


def test_recommendations_are_the_best_predictions_best_first(loaded: bundle.Bundle) -> None:
    recommended = loaded.recommend(5, 40)
    scores = loaded.predict(5, INT_IDS.item_ids, clip=False)
    assert [item for item, _ in recommended] == INT_IDS.item_ids[np.argsort(-scores)].tolist()
    assert [score for _, score in recommended] == pytest.approx(np.sort(scores.clip(1, 5))[::-1])


def test_recommendations_leave_out_what_is_excluded(loaded: bundle.Bundle) -> None:
    best = [item for item, _ in loaded.recommend(5, 3)]
    rest = [item for item, _ in loaded.recommend(5, 100, exclude=[*best, "unknown"])]
    assert len(rest) == 37
    assert not set(best) & set(rest)


def test_a_newcomer_gets_items_that_many_rated_well(loaded: bundle.Bundle, train: Part) -> None:
    counts = np.bincount(train.items)
    sums = np.bincount(train.items, weights=train.ratings)
    damped = (sums + 10 * 3.5) / (counts + 10)
    assert loaded.recommend("nobody", 1)[0][0] == INT_IDS.item_ids[np.argmax(damped)]


@pytest.mark.parametrize("name", [name for name in bundle.FILES if name != bundle.INDEX])
def test_an_altered_file_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ChecksumMismatch, match=name):
        bundle.load(folder)


@pytest.mark.parametrize("name", list(bundle.FILES))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingRecord, match=f"{name} is not there"):
        bundle.load(folder)


def test_an_index_of_something_else_is_refused(folder: Path) -> None:
    (folder / bundle.INDEX).write_text('{"name": "a package"}')
    with pytest.raises(InvalidDataset, match="is not that of a bundle"):
        bundle.load(folder)


def test_a_bundle_of_a_later_format_is_refused(folder: Path) -> None:
    index = msgspec.json.decode((folder / bundle.INDEX).read_bytes())
    (folder / bundle.INDEX).write_bytes(msgspec.json.encode({**index, "format": 2}))
    with pytest.raises(InvalidPlan, match="format 2; this code reads 1"):
        bundle.load(folder)


def test_a_file_uri_loads_like_a_folder(folder: Path) -> None:
    assert bundle.load(folder.as_uri() + "/").header == bundle.load(str(folder)).header


def test_an_s3_uri_loads_like_a_folder(folder: Path, s3_workspace: Workspace) -> None:
    for name, content_type in bundle.FILES.items():
        s3_workspace.store.put(f"runs/1/linear/bundle/{name}", folder / name, content_type)
    loaded = bundle.load(f"{s3_workspace.store.uri}/runs/1/linear/bundle")
    np.testing.assert_array_equal(
        loaded.predict(5, INT_IDS.item_ids), bundle.load(folder).predict(5, INT_IDS.item_ids)
    )
