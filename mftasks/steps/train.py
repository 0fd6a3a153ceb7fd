"""Train one network of a run and export it; a second attempt resumes from the last checkpoint.

python -m mftasks train --run-id try-1 --network mlp
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mftasks import progress, version
from mftasks.errors import Interrupted, UnknownNetwork, did_you_mean
from mftasks.memory import peak_rss_bytes
from mftasks.networks import Sizes
from mftasks.progress import Tell, Tick
from mftasks.ratings import read_part, read_vocabulary
from mftasks.records import BundleRef, EpochMetrics, RunPlan, SplitRef, TrainConfig, TrainResult
from mftasks.workspace import Workspace, network_key, run_key

if TYPE_CHECKING:
    from mftasks.checkpoint import State
    from mftasks.ratings import Vocabulary
    from mftasks.trainer import Data, Trained

log = logging.getLogger(__name__)


def train(
    workspace: Workspace, run_id: str, network: str, *, tell: Tell = progress.silent
) -> TrainResult:
    """Train `network` as the plan says, and write its bundle, then its result.

    Raises `TrainingDiverged`, and `Interrupted` on SIGTERM or SIGINT, once the last whole epoch is
    in the store.
    """
    key = network_key(run_id, network, "train.json")
    if (done := workspace.find(key, TrainResult)) is not None:
        return done
    cpu_seconds = time.process_time()
    config = _config(workspace.read(run_key(run_id, "plan.json"), RunPlan), network)
    split = workspace.read(run_key(run_id, "split.json"), SplitRef)
    vocabulary, data = _data(workspace, split)
    trained, resumed_from = _fitted(workspace, run_id, config, split, data, tell)
    result = TrainResult(
        config=config,
        split_fingerprint=split.fingerprint,
        history=trained.history,
        best_epoch=trained.best_epoch,
        stopped=trained.stopped,
        resumed_from=resumed_from,
        device=_device(),
        seconds=trained.history[-1].seconds,
        bundle=_exported(workspace, run_id, config, split, vocabulary, data, trained),
        cpu_seconds=time.process_time() - cpu_seconds,
        peak_rss_bytes=peak_rss_bytes(),
    )
    return workspace.write(key, result)


def _config(plan: RunPlan, network: str) -> TrainConfig:
    configs = {config.network: config for config in plan.trainings}
    if network not in configs:
        raise UnknownNetwork(
            f"run {plan.run_id!r} does not train {network!r}{did_you_mean(network, configs)}"
        )
    return configs[network]


def _data(workspace: Workspace, split: SplitRef) -> tuple[Vocabulary, Data]:
    from mftasks.trainer import Data

    vocabulary = read_vocabulary(workspace.fetch(split.vocabulary))
    parts = {
        name: read_part(workspace.fetch(ref)) for name, ref in split.parts.items() if name != "test"
    }
    sizes = Sizes(len(vocabulary.user_ids), len(vocabulary.item_ids), split.mean_rating)
    low, high = split.min_rating, split.max_rating
    return vocabulary, Data(parts["train"], parts.get("valid"), sizes, low, high)


def _fitted(
    workspace: Workspace,
    run_id: str,
    config: TrainConfig,
    split: SplitRef,
    data: Data,
    tell: Tell,
) -> tuple[Trained, int | None]:
    """Train from the latest checkpoint; return the network and the epoch that this was."""
    from mftasks import trainer
    from mftasks.checkpoint import Checkpoints

    reached: list[State] = []

    def on_epoch(metrics: EpochMetrics, state: State) -> None:
        reached[:] = [state]
        checkpoints.offer(state)
        tell(_tick(config, metrics))

    with Checkpoints(
        workspace.store,
        network_key(run_id, config.network, "checkpoints/"),
        _fingerprint(config, split),
        seconds=workspace.settings.checkpoint_seconds,
    ) as checkpoints:
        start = checkpoints.latest()
        if start is not None:
            log.info("train %s: resumes after epoch %d", config.network, start.epoch)
        with _stoppable() as stop:
            try:
                trained = trainer.fit(config, data, on_epoch=on_epoch, on_batch=stop, start=start)
            except Interrupted:
                for state in reached:
                    checkpoints.save(state)
                raise
    return trained, start.epoch if start else None


def _fingerprint(config: TrainConfig, split: SplitRef) -> str:
    """Return what a checkpoint must agree on: data, configuration and code."""
    parts = (split.fingerprint, msgspec.json.encode(config).decode(), version.sources_hash())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _tick(config: TrainConfig, metrics: EpochMetrics) -> Tick:
    return Tick(
        work=f"train {config.network}",
        done=metrics.epoch,
        total=config.epochs,
        unit="epochs",
        device=_device(),
        epoch=metrics,
    )


def _device() -> str:
    from mftasks import trainer

    return str(trainer.device())


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
    """Give a function that raises `Interrupted` once SIGTERM or SIGINT has arrived."""
    arrived: list[int] = []

    def check() -> None:
        if arrived:
            name = signal.Signals(arrived[0]).name
            raise Interrupted(f"{name} stopped the training; start it again to resume")

    if threading.current_thread() is not threading.main_thread():
        yield check  # Python hands signals to the main thread alone
        return
    usual = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield check
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _exported(
    workspace: Workspace,
    run_id: str,
    config: TrainConfig,
    split: SplitRef,
    vocabulary: Vocabulary,
    data: Data,
    trained: Trained,
) -> BundleRef:
    from mftasks import bundle

    header = bundle.Header(
        network=config.network,
        config=config,
        split_fingerprint=split.fingerprint,
        n_users=data.sizes.n_users,
        n_items=data.sizes.n_items,
        n_ratings=len(data.train.ratings),
        mean_rating=split.mean_rating,
        min_rating=split.min_rating,
        max_rating=split.max_rating,
        code_version=version.code_version(),
        libraries=bundle.libraries(),
    )
    prefix = network_key(run_id, config.network, "bundle/")
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        bundle.export(Path(folder), trained.block, header, vocabulary, data.train)
        files = {
            path.name: workspace.put_blob(f"{prefix}{path.name}", path, bundle.FILES[path.name])
            for path in sorted(Path(folder).iterdir())
        }
    return BundleRef(network=config.network, prefix=prefix, files=files)
