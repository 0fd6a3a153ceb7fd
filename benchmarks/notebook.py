"""The notebook's loop, as the yardstick: symbols, `FeedForward`, dense Adam, RMSE batch by batch.

python -m benchmarks.notebook '{"parts": "parts.npz", "network": "mlp", "epochs": 20}'

Prints one JSON object: test RMSE, CPU and wall seconds of each epoch so far, and the peak memory.
As in the notebook nothing flushes denormals; one thread is what the loop is quickest with.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Clock

os.environ["OMP_NUM_THREADS"] = "1"
np.bool = bool  # type: ignore[attr-defined]  # which MXNet 1.9.1 reads, and NumPy 1.24 removed

import mxnet as mx  # noqa: E402 (what stands above must come before it)

Floats = NDArray[np.float32]

FACTORS = 64
HIDDEN = 64
BATCH_SIZE = {"linear": 100, "mlp": 100, "resnet": 200}


def main() -> None:
    """Train what the job on the command line asks for."""
    job = json.loads(sys.argv[1])
    with np.load(job["parts"]) as parts:
        arrays = dict(parts)
    np.random.seed(123)
    mx.random.seed(123)
    clock = Clock()
    batch_size = BATCH_SIZE[job["network"]]
    model = mx.model.FeedForward(
        ctx=[mx.cpu()],
        symbol=make_symbol(
            job["network"], arrays["train_users"].max() + 1, arrays["train_items"].max() + 1
        ),
        num_epoch=job["epochs"],
        optimizer="adam",
        learning_rate=0.001,
        wd=1e-4,
        initializer=mx.init.Uniform(0.01),
    )
    rmse = Rmse(-(-len(arrays["test_ratings"]) // batch_size))
    model.fit(
        X=make_batches(arrays, "train", batch_size),
        eval_data=make_batches(arrays, "test", batch_size),
        eval_metric=mx.metric.CustomMetric(rmse, name="rmse"),
        eval_end_callback=lambda evaluated: clock.tick(rmse.pool()),
    )
    clock.print()


class Rmse:
    """The notebook's metric: the RMSE of a batch, computed rating by rating in Python.

    The notebook reports the mean over batches. So that both sides report the same, `pooled` is of
    the clipped predictions of the last `n_batches`.
    """

    def __init__(self, n_batches: int) -> None:
        self.last: deque[tuple[float, int]] = deque(maxlen=n_batches)

    def __call__(self, ratings: Floats, predicted: Floats) -> float:
        predicted = predicted.ravel()
        errors = ratings - predicted.clip(1, 5)
        self.last.append((float(errors @ errors), len(errors)))
        total = 0.0
        for i in range(len(ratings)):
            total += (ratings[i] - predicted[i]) * (ratings[i] - predicted[i])
        return math.sqrt(total / len(ratings))

    def pool(self) -> float:
        return math.sqrt(sum(squared for squared, _ in self.last) / sum(n for _, n in self.last))


def make_batches(arrays: dict[str, Any], part: str, batch_size: int) -> mx.io.NDArrayIter:
    """Return the notebook's iterator, which shuffles once."""
    return mx.io.NDArrayIter(
        {side: arrays[f"{part}_{side}s"].astype(np.float32) for side in ("user", "item")},
        {"score": arrays[f"{part}_ratings"]},
        batch_size=batch_size,
        shuffle=True,
    )


def make_symbol(network: str, n_users: int, n_items: int) -> mx.sym.Symbol:
    """Return the notebook's network with its loss layer."""
    tower = {"linear": lambda side: side, "mlp": mlp, "resnet": resnet}[network]
    sides = (
        tower(mx.sym.Embedding(mx.sym.Variable(name), input_dim=int(n), output_dim=FACTORS))
        for name, n in (("user", n_users), ("item", n_items))
    )
    predicted = mx.sym.Flatten(mx.sym.sum(next(sides) * next(sides), axis=1))
    return mx.sym.LinearRegressionOutput(data=predicted, label=mx.sym.Variable("score"))


def mlp(side: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return relu, then a dense layer."""
    return mx.sym.FullyConnected(mx.sym.Activation(side, act_type="relu"), num_hidden=HIDDEN)


def resnet(side: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return two residual layers with dropout in them and between them."""
    return residual(mx.sym.Dropout(residual(side), p=0.5))


def residual(side: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return dense, relu, dropout, dense, added to what came in."""
    inner = mx.sym.Activation(mx.sym.FullyConnected(side, num_hidden=HIDDEN), act_type="relu")
    return side + mx.sym.FullyConnected(mx.sym.Dropout(inner, p=0.5), num_hidden=FACTORS)


if __name__ == "__main__":
    main()
