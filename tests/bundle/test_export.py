from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mftasks import bundle, networks
from mftasks.data.arrays import Part
from mftasks.mx import mx
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
