from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mftasks import bundle, networks
from mftasks.bundle.files import PARAMETERS, SYMBOL
from mftasks.bundle.symbol import import_network
from mftasks.data.arrays import Part
from mftasks.factors.units import Unit
from mftasks.mx import mx, predict
from mftasks.networks._sides import Sides
from tests.bundle.exports import INT_IDS, export_network


@pytest.mark.parametrize("network", networks.names())
def test_equal_weights_give_equal_bytes_however_many_networks_were_made_before(
    tmp_path: Path, train: Part, network: str
) -> None:
    for name in ("one", "two"):
        export_network(tmp_path / name, train, network)
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
    printed = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True
    )
    expected = bundle.load(folder).predict(INT_IDS.user_ids[3], INT_IDS.item_ids[4], clip=False)
    assert float(printed.stdout) == pytest.approx(float(expected), abs=1e-6)


def test_only_the_prediction_is_exported(folder: Path) -> None:
    assert mx.sym.load(str(folder / bundle.SYMBOL)).list_outputs() == ["plus_scalar_1_output"]


@pytest.mark.parametrize("network", networks.names())
@pytest.mark.parametrize(("unit", "share"), [(Unit(3.5, 1.1), 0.7), (Unit(30, -20), 1.0)])
def test_the_factors_predict_what_the_symbol_does(
    tmp_path: Path, train: Part, network: str, unit: Unit, share: float
) -> None:
    export_network(tmp_path / "bundle", train, network, unit=unit, share=share)
    loaded = bundle.load(tmp_path / "bundle")
    assert loaded.factors is not None
    symbol = import_network(*(tmp_path / "bundle" / name for name in (SYMBOL, PARAMETERS)))
    users, items = (side.ravel().astype(np.int32) for side in np.mgrid[:60, :40])
    expected = predict(symbol, users, items)
    found = loaded.predict_at(users, items, clip=False)
    assert found == pytest.approx(expected, abs=1e-5 * float(np.abs(expected).max()))


def test_a_bundle_with_factors_predicts_without_mxnet(folder: Path) -> None:
    script = (
        "import sys\nfrom mftasks import bundle\nmodel = bundle.load(sys.argv[1])\n"
        "model.predict([5, 8], [1, 3]), model.recommend(5), model.similar(1)\n"
        "model.recommend(model.fold_in({1: 5, 3: 2}))\n"
        "assert 'mxnet' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


def test_a_network_without_factors_predicts_by_its_symbol(
    tmp_path: Path, train: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_network(tmp_path / "with", train)
    monkeypatch.delattr(Sides, "factors")
    export_network(tmp_path / "without", train)
    assert not (tmp_path / "without" / "factors.npz").exists()
    some, other = (bundle.load(tmp_path / name) for name in ("with", "without"))
    assert other.factors is None
    assert [item for item, _ in other.recommend(5)] == [item for item, _ in some.recommend(5)]
    users, items = INT_IDS.user_ids[train.users], INT_IDS.item_ids[train.items]
    assert other.predict(users, items) == pytest.approx(some.predict(users, items), rel=1e-5)


def test_factors_that_predict_something_else_are_left_out_with_a_word(
    tmp_path: Path, train: Part, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = Sides.factors
    monkeypatch.setattr(Sides, "factors", lambda self: right(self)._replace(mu=np.float32(0)))
    export_network(tmp_path / "bundle", train)
    assert bundle.load(tmp_path / "bundle").factors is None
    assert "predicts other ratings than its factors() do, by up to 3.5" in caplog.text
