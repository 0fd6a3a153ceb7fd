"""The networks: this folder is their registry, a file each.

A file `networks/<name>.py` begins with its formula and defines

- `Params`, a frozen struct of the network's own parameters. Each has a default, and `Annotated` gives
  its bounds and description: `Annotated[int, Meta(ge=1, le=8, description="…")] = 2`. Its title is its
  name unless `Meta` gives another. `_parameters.py` describes those that networks share;
- `PRESETS`, a `TrainConfig` for `default` and one for `notebook`;
- `build(sizes, params, lazy)`, which returns a `HybridBlock` that maps two int32 arrays of shape (B,),
  users and items, to `predicted` and `penalty`, both float32 of shape (B,). `penalty` is the sum of
  the squares of the embedding rows that were looked up: the trainer adds `l2 · penalty` to the
  loss. Only `predicted` is exported. If the block has a method `factors()`, which returns them as
  `mftasks.factors.Factors`, its bundle predicts without MXNet; that of `_sides.Sides` has one.

It imports MXNet inside `build` only, as the DAG, the trigger form and `plan` read the rest. It may also
define `fit`, with the signature of `training.loop.fit`, if the network does not descend a gradient.
Nothing else has to be edited: the network and its parameters appear in all of them, the CLI, the report,
and the tests. A file that cannot be used is named with its error, and the other networks train.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from mftasks.errors import LONGEST, BrokenNetwork, UnknownNetwork, did_you_mean, quote
from mftasks.records import Scalar, SplitConfig, TrainConfig

NOTEBOOK: dict[str, Any] = {
    "learning_rate": 0.001,
    "weight_decay": 1e-4,
    "lazy": False,
    "keep": "last",
    "standardize": False,
    "seed": 123,
}
"""How the notebook trains, whatever the network."""

PRESET_NAMES = ("default", "notebook")
RESERVED = frozenset(
    {
        *("dataset", "networks", "preset", "split", "device", "devices", "overrides"),
        *SplitConfig.__struct_fields__,
        *TrainConfig.__struct_fields__,
    }
)
"""Names of parameters that no network may have, as every run has them."""


class Sizes(NamedTuple):
    """What a network must know of the data; the mean rating is 0 if ratings are standardized."""

    n_users: int
    n_items: int
    mean_rating: float


class Network(Protocol):
    """What a file of this folder defines."""

    Params: type[msgspec.Struct]
    PRESETS: dict[str, TrainConfig]

    def build(self, sizes: Sizes, params: Any, *, lazy: bool) -> Any: ...


def names() -> tuple[str, ...]:
    """Return the names of all networks, without importing any."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def read_formula(name: str) -> str:
    """Return the first sentence of a network's file, which is its formula."""
    return (load(name).__doc__ or name).strip().split("\n\n")[0].replace("`", "").replace("\n", " ")


def load(name: str) -> Network:
    """Import a network's file.

    Raises `UnknownNetwork` with a suggestion, and `BrokenNetwork` for a file that cannot be used.
    """
    if name not in names():
        raise UnknownNetwork(f"unknown network {quote(name)}{did_you_mean(name, names())}")
    try:
        network, imports_mxnet = _import(name)
        _check(name, network)
    except (Exception, SystemExit) as error:  # whatever a file does, the others must train
        text = f"{type(error).__name__}: {str(error)[:LONGEST]}"
        raise BrokenNetwork(f"network {name} cannot be used: {text}") from error
    if imports_mxnet:
        raise BrokenNetwork(
            f"network {name} cannot be used: it imports MXNet when it is read; do so inside build()"
        )
    return cast("Network", network)


def survey() -> tuple[dict[str, Network], dict[str, str]]:
    """Return the networks that can be used, and what is wrong with each of the others."""
    usable: dict[str, Network] = {}
    broken: dict[str, str] = {}
    for name in names():
        try:
            usable[name] = load(name)
        except BrokenNetwork as error:
            broken[name] = str(error)
    return usable, broken


@functools.cache
def _import(name: str) -> tuple[Any, bool]:
    """Import a network's file; return whether that has imported MXNet, too."""
    before = "mxnet" in sys.modules
    network = importlib.import_module(f"{__name__}.{name}")
    return network, "mxnet" in sys.modules and not before


def _check(name: str, network: Any) -> None:
    """Raise if a network's file lacks what this folder's docstring asks for."""
    missing = [piece for piece in ("Params", "PRESETS", "build") if not hasattr(network, piece)]
    if missing:
        raise AttributeError(f"it does not define {', '.join(missing)}")
    msgspec.json.schema(network.Params)  # every parameter has a type that a form can hold
    taken = RESERVED.intersection(network.Params.__struct_fields__)
    if taken:
        raise ValueError(f"Params has {', '.join(sorted(taken))}, which every run has: rename it")
    for key, value in msgspec.to_builtins(network.Params()).items():
        if not isinstance(value, Scalar):
            raise ValueError(f"parameter {key} is {value!r}: it must be a number, text or a bool")
    for preset in PRESET_NAMES:
        _check_preset(name, preset, network)


def _check_preset(name: str, preset: str, network: Any) -> None:
    if preset not in network.PRESETS:
        raise ValueError(f"PRESETS has no {preset!r}")
    config = network.PRESETS[preset]
    if config.network != name:
        raise ValueError(f"preset {preset} is of network {config.network!r}, not of {name!r}")
    unknown = set(config.params).difference(network.Params.__struct_fields__)
    if unknown:
        raise ValueError(f"preset {preset} has {', '.join(unknown)}, which Params does not have")
    msgspec.convert(config.params, network.Params)
