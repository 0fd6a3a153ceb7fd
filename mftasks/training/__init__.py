"""From arrays to weights: `fit` trains a network. Only `checkpoints` knows a store.

    from mftasks import training
    training.fit(config, training.Data(train, valid, sizes, low=1.0, high=5.0))

MXNet is imported by `fit`, so that a process can first lease devices and hide all others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from mftasks import networks
from mftasks.training.state import Data, State, Trained

if TYPE_CHECKING:
    from mftasks.records import TrainConfig

__all__ = ["Data", "State", "Trained", "fit"]


def fit(
    config: TrainConfig,
    data: Data,
    *,
    kind: Literal["cpu", "gpu"] = "cpu",
    n_devices: int = 1,
    start: State | None = None,
    on_epoch: Callable[[State], None] = lambda state: None,
    on_batch: Callable[[], None] = lambda: None,
) -> Trained:
    """Train the network of `config` from `start`, or from new weights, and return it on the CPU.

    A network whose file defines `fit` is trained by that, and all others by `loop.fit`. On several
    devices the result is that of one within rounding, except that dropout draws other masks. What
    `on_epoch` and `on_batch` raise ends the training. Raises `TrainingDiverged`.
    """
    began = time.process_time() - (start.cpu_seconds if start else 0.0)
    from mftasks import mx
    from mftasks.training import loop

    contexts = mx.contexts(kind, n_devices)
    method = getattr(networks.load(config.network), "fit", loop.fit)
    trained: Trained = method(
        config,
        data,
        contexts=contexts,
        start=start,
        on_epoch=lambda state: on_epoch(state._replace(cpu_seconds=time.process_time() - began)),
        on_batch=on_batch,
    )
    mx.free_memory(contexts)
    return trained._replace(cpu_seconds=time.process_time() - began)
