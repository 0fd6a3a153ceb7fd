"""What every network must do; one that joins the folder joins these tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mftasks import networks, params, training
from mftasks.data.arrays import Part
from mftasks.mx import autograd, gluon, mx, nd, predict
from mftasks.params import schemas
from mftasks.scoring.errors import pool_rmse
from mftasks.training.graph import Objective

SIZES = networks.Sizes(60, 40, 3.5)


@pytest.fixture(params=networks.names())
def network(request: pytest.FixtureRequest) -> str:
    return request.param


def built(network: str, seed: int = 0, *, lazy: bool = True, **params: Any) -> Any:
    module = networks.load(network)
    block = module.build(SIZES, module.Params(**params), lazy=lazy)
    mx.random.seed(seed)
    block.initialize()
    return block


def positions(*values: int) -> nd.NDArray:
    return nd.array(values, dtype="int32")


def test_it_maps_users_and_items_to_predicted_and_penalty(network: str) -> None:
    block = built(network)
    predicted, penalty = block(positions(3, 59, 3), positions(0, 39, 0))
    assert predicted.shape == penalty.shape == (3,)
    assert predicted.dtype == penalty.dtype == np.float32
    embeddings = [side.embedding.weight.data().asnumpy() for side in (block.users, block.items)]
    expected = (embeddings[0][3] ** 2).sum() + (embeddings[1][0] ** 2).sum()
    assert penalty.asnumpy()[0] == pytest.approx(expected, rel=1e-5)


def test_it_does_the_same_hybridized(network: str) -> None:
    block = built(network)
    given = positions(3, 59, 7), positions(0, 39, 5)
    plain = block(*given)[0].asnumpy()
    block.hybridize(static_alloc=True, static_shape=True)
    assert block(*given)[0].asnumpy() == pytest.approx(plain, abs=1e-6)


def test_the_same_seed_gives_the_same_weights(network: str) -> None:
    one, same, other = (
        [parameter.data().asnumpy() for parameter in built(network, seed).collect_params().values()]
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_centring_adds_the_mean_rating_and_biases_add_two_tables_of_zeros(network: str) -> None:
    given = positions(3, 59, 7), positions(0, 39, 5)
    whole, off_center, plain = (
        built(network, center=center, biases=biases)
        for center, biases in ((True, True), (False, True), (False, False))
    )
    predicted = plain(*given)[0].asnumpy()
    assert np.array_equal(off_center(*given)[0].asnumpy(), predicted)
    assert whole(*given)[0].asnumpy() == pytest.approx(predicted + SIZES.mean_rating, abs=1e-5)
    for side in (whole.users, whole.items):
        side.bias.set_data(nd.ones(side.bias.shape))
    assert whole(*given)[0].asnumpy() == pytest.approx(predicted + 5.5, abs=1e-5)
    assert len(list(plain.collect_params())) == len(list(whole.collect_params())) - 2


def test_it_overfits_200_ratings_to_below_the_bias_baseline(
    network: str, tiny_ratings: Part
) -> None:
    some = Part(*(array[:200] for array in tiny_ratings))
    preset = networks.load(network).PRESETS["default"]
    config = msgspec.structs.replace(
        preset, epochs=100, batch_size=50, learning_rate=0.01, l2=0.0, weight_decay=0.0, keep="last"
    )
    trained = training.fit(config, training.Data(some, None, SIZES, 1.0, 5.0))
    predicted = trained.unit.unscale(predict(trained.block, some.users, some.items, mx.cpu()))
    found = pool_rmse(predicted, some.ratings)
    assert found < 0.5 * least_squares_of_biases(some)


def least_squares_of_biases(part: Part) -> float:
    rows = np.arange(len(part.ratings))
    design = np.zeros((len(rows), SIZES.n_users + SIZES.n_items))
    design[rows, part.users] = 1
    design[rows, SIZES.n_users + part.items] = 1
    solution = np.linalg.lstsq(design, part.ratings.astype(float), rcond=None)[0]
    return float(np.sqrt(np.mean((design @ solution - part.ratings) ** 2)))


@pytest.mark.parametrize("lazy", [True, False])
def test_gradients_touch_the_rows_of_the_batch_and_are_sparse_if_lazy(
    network: str, lazy: bool
) -> None:
    block = built(network, lazy=lazy)
    objective = Objective(block, l2=0.1)
    objective.hybridize()
    with autograd.record():
        loss, _ = objective(positions(3, 3, 8), positions(1, 2, 2), nd.array([1, 5, 3]))
    loss.backward()
    for side, rows in ((block.users, {3, 8}), (block.items, {1, 2})):
        for parameter in (side.embedding.weight, side.bias):
            gradient = parameter.grad()
            assert gradient.stype == ("row_sparse" if lazy else "default")
            touched = np.flatnonzero(np.abs(gradient.asnumpy()).sum(axis=1))
            assert set(touched) == rows
            if lazy:
                assert set(gradient.indices.asnumpy()) == rows


def test_it_predicts_the_same_after_export_and_import(network: str, tmp_path: Path) -> None:
    block = built(network)
    given = positions(3, 59, 7), positions(0, 39, 5)
    block.hybridize()
    expected = block(*given)[0].asnumpy()
    traced, _ = block(mx.sym.var("users"), mx.sym.var("items"))
    traced.save(str(tmp_path / "symbol.json"))
    block.save_parameters(str(tmp_path / "gluon.params"))
    nd.save(
        str(tmp_path / "network.params"),
        {f"arg:{name}": p.data() for name, p in block.collect_params().items()},
    )
    with pytest.warns(UserWarning, match="Cannot decide type"):
        imported = gluon.SymbolBlock.imports(
            str(tmp_path / "symbol.json"), ["users", "items"], str(tmp_path / "network.params")
        )
    assert np.array_equal(imported(*given).asnumpy(), expected)


def test_its_factors_if_it_has_any_predict_what_it_does(network: str) -> None:
    block = built(network)
    if not hasattr(block, "factors"):
        return
    users, items = np.arange(60, dtype=np.int32), np.arange(60, dtype=np.int32) % 40
    for side in (block.users, block.items):
        side.bias.set_data(nd.random.normal(shape=side.bias.shape))
    found = block.factors()
    assert len(found.user_vectors) == 60
    assert len(found.item_vectors) == 40
    assert found.predict(users, items) == pytest.approx(predict(block, users, items), abs=1e-5)


def test_its_presets_are_of_it_and_have_parameters_that_it_knows(network: str) -> None:
    module = networks.load(network)
    assert set(module.PRESETS) == {"default", "notebook"}
    for preset in module.PRESETS.values():
        assert preset.network == network
        msgspec.convert(preset.params, module.Params)


def test_each_of_its_parameters_has_a_sentence(network: str) -> None:
    for name, field in schemas.read_fields(networks.load(network).Params).items():
        assert field["description"].endswith("."), name


def test_no_parameter_of_a_run_may_be_one_of_a_network() -> None:
    assert set(params.General.__struct_fields__) <= networks.RESERVED


def test_its_file_imports_without_mxnet(network: str) -> None:
    import subprocess
    import sys

    script = (
        f"import sys, mftasks.networks as n; n.load({network!r}); assert 'mxnet' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
