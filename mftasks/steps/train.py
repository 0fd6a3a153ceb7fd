"""Train one network of a run and export it; a second attempt resumes from the last checkpoint.

python -m mftasks train --run-id try-1 --network mlp
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import tenacity

from mftasks import networks, progress, version
from mftasks.data.arrays import read_part, read_vocabulary
from mftasks.devices import gpus, leases
from mftasks.devices.memory import explain_shortage, peak_rss_bytes
from mftasks.errors import (
    Interrupted,
    StoreUnavailable,
    UnknownNetwork,
    did_you_mean,
)
from mftasks.networks import Sizes
from mftasks.progress import OnTick, Tick
from mftasks.records import BundleRef, EpochMetrics, RunPlan, SplitRef, TrainConfig, TrainResult
from mftasks.store.workspace import Workspace, network_key, run_key
from mftasks.training import signals

if TYPE_CHECKING:
    from mftasks.data.arrays import Vocabulary
    from mftasks.devices.gpus import Device
    from mftasks.settings import Settings
    from mftasks.training.loop import Data, Trained
    from mftasks.training.state import State

log = logging.getLogger(__name__)

STORE_PATIENCE_SECONDS = 300.0


def train(
    workspace: Workspace, run_id: str, network: str, *, on_tick: OnTick = progress.silent
) -> TrainResult:
    """Train `network` as the plan says, and write its bundle, then its result.

    Raises `TrainingDiverged`, `NoDeviceFree`, `OutOfMemory`, and `Interrupted` on SIGTERM or SIGINT,
    once the last whole epoch is in the store.
    """
    key = network_key(run_id, network, "train.json")
    if (done := workspace.find(key, TrainResult)) is not None:
        return done
    plan = workspace.read(run_key(run_id, "plan.json"), RunPlan)
    config = _config(plan, network)
    split = workspace.read(run_key(run_id, "split.json"), SplitRef)
    for name, ref in split.parts.items():
        if name != "test":
            workspace.fetch(ref)  # no device waits for it later
    with _leased(workspace.settings, plan, config, on_tick) as leased, explain_shortage():
        return _trained(workspace, run_id, config, split, leased, on_tick)


@contextlib.contextmanager
def _leased(
    settings: Settings, plan: RunPlan, config: TrainConfig, on_tick: OnTick
) -> Iterator[tuple[Device, ...]]:
    """Hold the devices of a training, and let MXNet, not imported yet, see no others."""
    work = f"train {config.network}"
    with leases.lease(
        gpus.candidates(
            plan.device, plan.devices, cpu_slots=settings.cpu_slots, environment=os.environ
        ),
        plan.devices,
        folder=settings.leases,
        holder=f"{work} of {plan.run_id}",
        wait_seconds=settings.device_wait_seconds,
        on_wait=lambda text: on_tick(
            Tick(work=work, done=0, total=config.epochs, unit="epochs", waiting_for=text)
        ),
    ) as leased:
        gpus.show_only(leased, os.environ)
        yield leased


def _trained(
    workspace: Workspace,
    run_id: str,
    config: TrainConfig,
    split: SplitRef,
    leased: tuple[Device, ...],
    on_tick: OnTick,
) -> TrainResult:
    from mftasks.networks._layers import describe

    cpu_seconds = time.process_time()
    vocabulary, data = _data(workspace, split)
    trained, resumed_from = _fitted(workspace, run_id, config, split, data, leased, on_tick)

    def put() -> TrainResult:
        result = TrainResult(
            config=config,
            split_fingerprint=split.fingerprint,
            history=trained.history,
            best_epoch=trained.best_epoch,
            stopped=trained.stopped,
            resumed_from=resumed_from,
            device=gpus.describe(leased),
            seconds=trained.history[-1].seconds,
            bundle=_exported(workspace, run_id, config, split, vocabulary, data, trained),
            cpu_seconds=time.process_time() - cpu_seconds,
            peak_rss_bytes=peak_rss_bytes(),
            formula=networks.formula(config.network),
            architecture=describe(config.network, trained.block),
        )
        return workspace.write(network_key(run_id, config.network, "train.json"), result)

    # A store that is away for a while must not cost what was learnt since the last checkpoint.
    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        stop=tenacity.stop_after_delay(STORE_PATIENCE_SECONDS),
        wait=tenacity.wait_fixed(2),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    return patiently(put)


def _config(plan: RunPlan, network: str) -> TrainConfig:
    configs = {config.network: config for config in plan.trainings}
    if network not in configs:
        raise UnknownNetwork(
            f"run {plan.run_id!r} does not train {network!r}{did_you_mean(network, configs)}"
        )
    return configs[network]


def _data(workspace: Workspace, split: SplitRef) -> tuple[Vocabulary, Data]:
    from mftasks.training.loop import Data

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
    leased: tuple[Device, ...],
    on_tick: OnTick,
) -> tuple[Trained, int | None]:
    """Train from the latest checkpoint; return the network and the epoch that this was."""
    from mftasks import mx
    from mftasks.training import loop
    from mftasks.training.checkpoints import Checkpoints

    reached: list[State] = []

    def on_epoch(metrics: EpochMetrics, state: State) -> None:
        reached[:] = [state]
        checkpoints.offer(state)
        on_tick(_tick(config, metrics, leased))

    with Checkpoints(
        workspace.store,
        network_key(run_id, config.network, "checkpoints/"),
        _fingerprint(config, split),
        seconds=workspace.settings.checkpoint_seconds,
    ) as checkpoints:
        start = checkpoints.latest()
        if start is not None:
            log.info("train %s: resumes after epoch %d", config.network, start.epoch)
        with signals.stoppable() as stop:
            try:
                trained = loop.fit(
                    config,
                    data,
                    on_epoch=on_epoch,
                    on_batch=stop,
                    start=start,
                    devices=mx.devices(leased[0].kind, len(leased)),
                )
            except Interrupted:
                for state in reached:
                    checkpoints.save(state)
                raise
    return trained, start.epoch if start else None


def _fingerprint(config: TrainConfig, split: SplitRef) -> str:
    """Return what a checkpoint must agree on: data, configuration and code."""
    parts = (split.fingerprint, msgspec.json.encode(config).decode(), version.sources_hash())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _tick(config: TrainConfig, metrics: EpochMetrics, leased: tuple[Device, ...]) -> Tick:
    return Tick(
        work=f"train {config.network}",
        done=metrics.epoch,
        total=config.epochs,
        unit="epochs",
        device=gpus.describe(leased),
        epoch=metrics,
        seconds_left=metrics.seconds / metrics.epoch * (config.epochs - metrics.epoch),
        peak_rss_bytes=peak_rss_bytes(),
        gpus=gpus.usage(leased),
    )


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
    from mftasks.bundle.export import export, libraries

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
        libraries=libraries(),
    )
    prefix = network_key(run_id, config.network, "bundle/")
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        export(Path(folder), trained.block, header, vocabulary, data.train)
        files = {
            path.name: workspace.put_blob(f"{prefix}{path.name}", path, bundle.FILES[path.name])
            for path in sorted(Path(folder).iterdir())
        }
    return BundleRef(network=config.network, prefix=prefix, files=files)
