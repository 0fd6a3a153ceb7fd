"""A network as MXNet's symbol and parameters: traced from its blocks, and imported again."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mftasks.mx import gluon, mx, nd

if TYPE_CHECKING:
    from mftasks.factors.biases import Biases
    from mftasks.factors.units import Unit


class Exported(gluon.HybridBlock):
    """A network that counts in `unit` and has a `share` of what is predicted; the biases have the rest."""

    def __init__(self, network: Any, unit: Unit, share: float, biases: Biases) -> None:
        super().__init__()
        self.scale = share * unit.spread
        self.shift = share * unit.mean + (1 - share) * biases.mean
        with self.name_scope():
            self.network = network
            if share < 1:
                self.user_biases = self._keep("user_biases", (1 - share) * biases.users)
                self.item_biases = self._keep("item_biases", (1 - share) * biases.items)

    def _keep(self, name: str, biases: Any) -> Any:
        table = nd.array(biases[:, np.newaxis], dtype="float32")
        constant = self.params.get_constant(name, table)
        constant.initialize()
        return constant

    def hybrid_forward(self, F: Any, users: Any, items: Any, **biases: Any) -> Any:
        outputs = self.network(users, items)
        predicted = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        if self.scale != 1:
            predicted = predicted * self.scale
        if self.shift:
            predicted = predicted + self.shift
        for positions, name in ((users, "user_biases"), (items, "item_biases")):
            if name in biases:
                found = F.Embedding(
                    positions,
                    biases[name],
                    input_dim=self.params.get(name).shape[0],
                    output_dim=1,
                )
                predicted = predicted + F.reshape(found, shape=(-1,))
        return predicted


def trace(block: Any) -> tuple[str, dict[str, Any]]:
    """Return the symbol as JSON and the parameters, under names that do not depend on the process.

    Gluon numbers blocks as they are made in a process; we name a parameter by where it sits in the
    network (`users.embedding.weight`), and an operation by its kind and turn.
    """
    predicted = block(mx.sym.var("users"), mx.sym.var("items"))
    places: dict[str, str] = {}
    for name, parameter in block._collect_params_with_prefix().items():  # noqa: SLF001 (no public way)
        places.setdefault(parameter.name, name.removeprefix("network."))
    graph = json.loads(predicted.tojson())
    turns: Counter[str] = Counter()
    for node in graph["nodes"]:
        if node["op"] == "null":
            node["name"] = places.get(node["name"], node["name"])
            for how_trained in ("__init__", "__lr_mult__", "__wd_mult__"):
                node.get("attrs", {}).pop(how_trained, None)
        else:
            turns[node["op"]] += 1
            node["name"] = f"{node['op'].strip('_').lower()}_{turns[node['op']]}"
    kinds = dict.fromkeys(predicted.list_arguments(), "arg")
    kinds |= dict.fromkeys(predicted.list_auxiliary_states(), "aux")
    parameters = {
        f"{kinds[parameter.name]}:{places[parameter.name]}": parameter.list_data()[0]
        for parameter in block.collect_params().values()
        if parameter.name in kinds
    }
    return json.dumps(graph, indent=1) + "\n", parameters


def import_network(symbol: Path, parameters: Path) -> Any:
    """Return the network in two files as a block that maps positions to predicted."""
    with warnings.catch_warnings():
        # The inputs' type is free until the first call: int32 positions.
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments")
        network = gluon.SymbolBlock.imports(str(symbol), ["users", "items"], str(parameters))
    network.collect_params().setattr("grad_req", "null")
    network.hybridize(static_alloc=True)
    return network
