from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import bundle, networks
from mftasks.data.arrays import Part
from mftasks.errors import MfError
from mftasks.mx import mx
from mftasks.scoring.baselines import fit_biases
from mftasks.store.blobs import sha256_of
from tests.bundle.exports import INT_IDS, STR_IDS, export_network


@pytest.mark.parametrize("network", networks.names())
def test_a_loaded_bundle_predicts_what_the_trained_block_does(
    tmp_path: Path, train: Part, network: str
) -> None:
    trained = export_network(tmp_path / "bundle", train, network)
    sides = [mx.nd.array(side, dtype="int32") for side in (train.users, train.items)]
    predicted = bundle.load(tmp_path / "bundle").predict(
        INT_IDS.user_ids[train.users], INT_IDS.item_ids[train.items], clip=False
    )
    expected = trained(*sides)[0].asnumpy()
    assert predicted == pytest.approx(expected, abs=2e-6 * float(np.abs(expected).max()))
    assert predicted.dtype == np.float32


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
    monkeypatch.setattr("mftasks.mx.CHUNK", 700)
    np.testing.assert_allclose(loaded.predict(users, items), whole, rtol=1e-5)


def test_unknown_ids_get_the_biases_of_the_known_ones(loaded: bundle.Bundle, train: Part) -> None:
    fitted = fit_biases(train, None, 60, 40)
    assert float(loaded.predict(-99, INT_IDS.item_ids[7])) == pytest.approx(3.5 + fitted.items[7])
    assert float(loaded.predict(INT_IDS.user_ids[9], 2)) == pytest.approx(3.5 + fitted.users[9])


def test_an_unknown_user_and_item_get_the_mean(loaded: bundle.Bundle) -> None:
    assert float(loaded.predict("nobody", "nothing")) == 3.5
    assert loaded.predict_at(np.array([-1]), np.array([-1])).tolist() == [3.5]


def test_a_bundle_of_version_0_2_has_no_biases_and_answers_with_means(
    folder: Path, train: Part
) -> None:
    with np.load(folder / "vocabulary.npz") as arrays:
        kept = {name: array for name, array in arrays.items() if "biases" not in name}
    np.savez(folder / "vocabulary.npz", **kept)
    (folder / "factors.npz").unlink()
    index = msgspec.json.decode((folder / bundle.INDEX).read_bytes())
    del index["files"]["factors.npz"], index["header"]["noise"]
    index["files"]["vocabulary.npz"] = sha256_of(folder / "vocabulary.npz")
    (folder / bundle.INDEX).write_bytes(msgspec.json.encode(index))
    old = bundle.load(folder)
    item = INT_IDS.item_ids[7]
    assert float(old.predict(-99, item)) == pytest.approx(train.ratings[train.items == 7].mean())
    assert float(old.predict(INT_IDS.user_ids[3], item)) > 0
    with pytest.raises(MfError, match="has no factors"):
        old.similar(item)


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
    export_network(tmp_path / "words", train, vocabulary=STR_IDS)
    export_network(tmp_path / "numbers", train)
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


def test_a_newcomer_gets_items_of_the_largest_bias(loaded: bundle.Bundle, train: Part) -> None:
    biases = fit_biases(train, None, 60, 40).items
    expected = INT_IDS.item_ids[np.argsort(-biases)[:5]].tolist()
    recommended = loaded.recommend("nobody", 5)
    assert [item for item, _ in recommended] == expected
    assert [score for _, score in recommended] == pytest.approx(
        loaded.predict("nobody", expected).tolist()
    )


def test_similar_items_have_vectors_of_the_largest_cosine(loaded: bundle.Bundle) -> None:
    assert loaded.factors is not None
    vectors = loaded.factors.item_vectors / np.linalg.norm(
        loaded.factors.item_vectors, axis=1, keepdims=True
    )
    cosines = vectors @ vectors[4]
    expected = [n for n in np.argsort(-cosines) if n != 4][:3]
    found = loaded.similar(INT_IDS.item_ids[4], 3)
    assert [item for item, _ in found] == INT_IDS.item_ids[expected].tolist()
    assert [cosine for _, cosine in found] == pytest.approx(cosines[expected].tolist(), abs=1e-5)
    assert loaded.similar("nothing") == []
