from __future__ import annotations

import pytest

from mftasks import networks
from mftasks.mx import gluon
from mftasks.networks._layers import describe
from mftasks.records import Layer


@pytest.mark.parametrize("name", ["linear", "mlp", "resnet"])
def test_a_network_is_pictured_by_its_blocks_and_their_weights(name: str) -> None:
    network = networks.load(name)
    block = network.build(networks.Sizes(30, 40, 3.5), network.Params(), lazy=True)
    block.initialize()
    root = describe(name, block)
    users, items = root.layers
    assert [side.layers[0].detail for side in (users, items)] == ["30 → 64", "40 → 64"]
    assert root.n_parameters == users.n_parameters + items.n_parameters
    assert root.n_parameters == sum(leaf.n_parameters for leaf in leaves(root))


def leaves(layer: Layer) -> list[Layer]:
    return [leaf for part in layer.layers for leaf in leaves(part)] or [layer]


def test_the_blocks_of_a_residual_layer_stay_together() -> None:
    network = networks.load("resnet")
    block = network.build(networks.Sizes(30, 40, 3.5), network.Params(), lazy=True)
    kinds = [layer.kind for layer in describe("resnet", block).layers[0].layers]
    assert kinds == ["Embedding", "Residual", "Dropout", "Residual", "bias"]


def test_a_figure_has_no_more_digits_than_one_reads() -> None:
    block = gluon.nn.HybridSequential()
    block.add(gluon.nn.Dropout(1 - 0.8))
    assert [layer.detail for layer in describe("net", block).layers] == ["p = 0.2"]
