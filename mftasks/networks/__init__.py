"""The networks: this folder is their registry, a file each.

A file `networks/<name>.py` defines

- `Params`, a frozen struct of the network's own parameters with their defaults and bounds;
- `PRESETS`, a `TrainConfig` for `default` and one for `notebook`;
- `build(sizes, params, lazy)`, which returns a `HybridBlock` that maps two int32 arrays of shape (B,),
  users and items, to `predicted` and `penalty`, both float32 of shape (B,). `penalty` is the sum of
  the squares of the embedding rows that were looked up: the trainer adds `l2 · penalty` to the
  loss. Only `predicted` is exported.

Dropping a file in makes the network appear in the DAG, the CLI, the trigger form and the tests.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mftasks.errors import UnknownNetwork, did_you_mean

if TYPE_CHECKING:
    import msgspec

    from mftasks.records import TrainConfig


NOTEBOOK: dict[str, Any] = {
    "learning_rate": 0.001,
    "weight_decay": 1e-4,
    "lazy": False,
    "keep": "last",
    "seed": 123,
}
"""How the notebook trains, whatever the network."""


class Sizes(NamedTuple):
    """Hold what a network must know of the data."""

    n_users: int
    n_items: int
    mean_rating: float


class Network(Protocol):
    """Be what a file of this folder defines."""

    Params: type[msgspec.Struct]
    PRESETS: dict[str, TrainConfig]

    def build(self, sizes: Sizes, params: Any, *, lazy: bool) -> Any: ...


def names() -> tuple[str, ...]:
    """Return the names of all networks, without importing any."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def formula(name: str) -> str:
    """Return the first sentence of a network's file, which says what it computes."""
    return (load(name).__doc__ or name).strip().split("\n\n")[0].replace("`", "").replace("\n", " ")


def load(name: str) -> Network:
    """Import a network's file; raises `UnknownNetwork` with a suggestion."""
    if name not in names():
        raise UnknownNetwork(f"unknown network {name!r}{did_you_mean(name, names())}")
    network: Network = importlib.import_module(f"mftasks.networks.{name}")
    return network
