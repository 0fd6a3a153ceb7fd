"""Evaluate one exported network on the test part.

python -m mftasks evaluate --run-id try-1 --network mlp
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from mftasks import bundle, progress
from mftasks.data.arrays import read_part
from mftasks.devices.memory import explain_shortage
from mftasks.records import Evaluation, SplitRef, TrainResult
from mftasks.scoring import groups
from mftasks.scoring.errors import pool_rmse, subtract
from mftasks.scoring.intervals import find_interval, resample
from mftasks.store import keys

if TYPE_CHECKING:
    from mftasks.data.arrays import Floats, Part
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

CHUNK = 1 << 20


def evaluate(
    workspace: Workspace, run_id: str, network: str, *, on_tick: progress.OnTick = progress.silent
) -> Evaluation:
    """Score the exported bundle of `network`, as read back from the store, and the baselines.

    Raises `ChecksumMismatch` if the store holds other bytes than training exported, and `OutOfMemory`.
    """
    key = keys.network(run_id, network, "evaluation.json")
    if (done := workspace.find_done(key, Evaluation)) is not None:
        return done
    split = workspace.read(keys.run(run_id, "split.json"), SplitRef)
    result = workspace.read(keys.network(run_id, network, "train.json"), TrainResult)
    with explain_shortage():
        evaluation = _score(workspace, split, result, on_tick)
    log.info("evaluate %s: RMSE %.4f on %d ratings", network, evaluation.rmse, evaluation.n_ratings)
    return workspace.write(key, evaluation)


def _score(
    workspace: Workspace, split: SplitRef, result: TrainResult, on_tick: progress.OnTick
) -> Evaluation:
    test = read_part(workspace.fetch(split.parts["test"]))
    exported = bundle.read({n: workspace.fetch(ref) for n, ref in result.bundle.files.items()})
    raw = _predict(exported, test, f"evaluate {result.config.network}", on_tick)
    low, high = split.min_rating, split.max_rating
    errors = subtract(raw.clip(low, high), test.ratings)
    squared = np.square(errors)
    rivals = {
        "mean": np.full_like(raw, split.mean_rating),
        "biases": exported.biases.predict(test.users, test.items),
    }
    of_rivals = {
        name: np.square(subtract(predicted.clip(low, high), test.ratings))
        for name, predicted in rivals.items()
    }
    best_rival = min(of_rivals.values(), key=np.sum)
    n, squares, absolutes, rival_squares = resample(
        test.users, squared, np.abs(errors), best_rival, seed=result.config.seed
    ).T
    rmses, maes = np.sqrt(squares / n), absolutes / n
    n_users = len(np.unique(test.users))
    return Evaluation(
        network=result.config.network,
        split_fingerprint=split.fingerprint,
        bundle=result.bundle,
        n_ratings=len(test.ratings),
        n_fallback=int(np.count_nonzero((test.users < 0) | (test.items < 0))),
        n_users=n_users,
        rmse=float(rmses[0]),
        rmse_raw=pool_rmse(raw, test.ratings),
        mae=float(maes[0]),
        rmse_interval=find_interval(rmses, n_users),
        mae_interval=find_interval(maes, n_users),
        baselines={name: float(np.sqrt(of.mean())) for name, of in of_rivals.items()},
        gain=find_interval(np.sqrt(rival_squares / n) - rmses, n_users),
        by_rating=groups.score_by_rating(test.ratings, squared),
        by_activity=groups.score_by_activity(test.users, exported.tables.user_counts, squared),
        by_novelty=groups.score_by_novelty(test.users, test.items, squared),
        residuals=groups.count_residuals(errors, high - low),
    )


def _predict(exported: bundle.Bundle, test: Part, work: str, on_tick: progress.OnTick) -> Floats:
    n = len(test.ratings)
    predicted = np.empty(n, np.float32)
    for start in range(0, n, CHUNK):
        chunk = slice(start, start + CHUNK)
        predicted[chunk] = exported.predict_at(test.users[chunk], test.items[chunk], clip=False)
        on_tick(progress.Tick(work=work, done=min(start + CHUNK, n), total=n, unit="ratings"))
    return predicted
