"""Our training loop on the same parts, the test part in place of the validation part.

python -m benchmarks.ours '{"parts": "parts.npz", "network": "mlp", "changes": {"epochs": 3}}'

`changes` are applied to the notebook preset, `params` in them to its parameters.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import numpy as np

from benchmarks.measure import Clock
from mftasks import networks, training
from mftasks.data.arrays import Part
from mftasks.records import TrainConfig


def main() -> None:
    """Train what the job on the command line asks for."""
    job = json.loads(sys.argv[1])
    with np.load(job["parts"]) as arrays:
        train, test = (
            Part(*(arrays[f"{part}_{field}"] for field in Part._fields))
            for part in ("train", "test")
        )
    sizes = networks.Sizes(
        int(train.users.max()) + 1, int(train.items.max()) + 1, float(train.ratings.mean())
    )
    clock = Clock()
    training.fit(
        make_config(job["network"], job["changes"]),
        training.Data(train, test, sizes, 1.0, 5.0),
        on_epoch=lambda state: clock.tick(state.history[-1].valid_rmse or 0.0),
    )
    clock.print()


def make_config(network: str, changes: dict[str, Any]) -> TrainConfig:
    """Return the notebook preset of `network` with `changes`."""
    preset = msgspec.to_builtins(networks.load(network).PRESETS["notebook"])
    params = {**preset["params"], **changes.get("params", {})}
    return msgspec.convert({**preset, **changes, "params": params}, TrainConfig)


if __name__ == "__main__":
    main()
