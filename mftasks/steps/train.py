"""Train one network of a run and export it; a second attempt resumes from the last checkpoint.

python -m mftasks train --run-id try-1 --network mlp
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import tenacity

from mftasks import networks, progress
from mftasks.data.arrays import read_part, read_vocabulary
from mftasks.devices import memory
from mftasks.errors import StoreUnavailable, UnknownNetwork, did_you_mean
from mftasks.records import BlobRef, BundleRef, RunPlan, SplitRef, TrainConfig, TrainResult
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import Workspace, network_key, run_key
from mftasks.training import Data

if TYPE_CHECKING:
    from mftasks.data.arrays import Vocabulary

log = logging.getLogger(__name__)

# A store that is away for a while must not cost what was learned since the last checkpoint.
_wait_for_store = tenacity.retry(
    retry=tenacity.retry_if_exception_type(StoreUnavailable),
    stop=tenacity.stop_after_delay(300),
    wait=tenacity.wait_fixed(2),
    before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
    reraise=True,
)


@memory.explain_shortage()
def train(
    workspace: Workspace, run_id: str, network: str, *, on_tick: progress.OnTick = progress.silent
) -> TrainResult:
    """Train `network` as the plan says, and write its bundle, then its result.

    A device is held only while the network trains: what is needed is read before, and the bundle is
    written after. Raises `TrainingDiverged`, `NoDeviceFree`, `DeviceUnavailable`, `OutOfMemory`, and
    `Interrupted` on SIGTERM or SIGINT, after the last whole epoch was put into the store.
    """
    from mftasks.training.attempt import attempt
    from mftasks.training.checkpoints import of_training

    key = network_key(run_id, network, "train.json")
    if (done := workspace.find(key, TrainResult)) is not None:
        log.info("train %s: %s exists, nothing to do; a new run trains again", network, key)
        return done
    plan = workspace.read(run_key(run_id, "plan.json"), RunPlan)
    config = _find_config(plan, network)
    split = workspace.read(run_key(run_id, "split.json"), SplitRef)
    vocabulary, data = _read_data(workspace, split)
    with of_training(workspace, run_id, config, split.fingerprint) as checkpoints:
        trained, resumed_from, device = attempt(
            plan, config, data, checkpoints, settings=workspace.settings, on_tick=on_tick
        )
    log.info("train %s: exports the weights of epoch %d", network, trained.best_epoch)
    from mftasks.bundle.export import export, make_header  # they import MXNet
    from mftasks.networks._layers import describe

    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        header = make_header(config, split, vocabulary, len(data.train.ratings))
        export(Path(folder), trained.block, header, vocabulary, data.train)
        bundle = _put_bundle(workspace, run_id, network, Path(folder))
    result = TrainResult(
        config=config,
        split_fingerprint=split.fingerprint,
        history=trained.history,
        best_epoch=trained.best_epoch,
        stopped=trained.stopped,
        resumed_from=resumed_from,
        device=device,
        seconds=trained.history[-1].seconds,
        cpu_seconds=trained.cpu_seconds,
        peak_rss_bytes=memory.peak_rss_bytes(),
        bundle=bundle,
        formula=networks.formula(network),
        architecture=describe(network, trained.block),
    )
    return _wait_for_store(workspace.write)(key, result)


def _find_config(plan: RunPlan, network: str) -> TrainConfig:
    configs = {config.network: config for config in plan.trainings}
    if network not in configs:
        raise UnknownNetwork(
            f"run {plan.run_id!r} does not train {network!r}{did_you_mean(network, configs)}"
        )
    return configs[network]


def _read_data(workspace: Workspace, split: SplitRef) -> tuple[Vocabulary, Data]:
    vocabulary = read_vocabulary(workspace.fetch(split.vocabulary))
    parts = {
        name: read_part(workspace.fetch(ref)) for name, ref in split.parts.items() if name != "test"
    }
    sizes = networks.Sizes(len(vocabulary.user_ids), len(vocabulary.item_ids), split.mean_rating)
    low, high = split.min_rating, split.max_rating
    return vocabulary, Data(parts["train"], parts.get("valid"), sizes, low, high)


@_wait_for_store
def _put_bundle(workspace: Workspace, run_id: str, network: str, folder: Path) -> BundleRef:
    """Put the files of a bundle, in place of those of an attempt that ended before its train.json."""
    from mftasks.bundle import FILES

    prefix = network_key(run_id, network, "bundle/")
    files = {}
    for name, content_type in FILES.items():
        path = folder / name
        workspace.store.put(f"{prefix}{name}", path, content_type)
        files[name] = BlobRef(
            key=f"{prefix}{name}", sha256=sha256_of(path), n_bytes=path.stat().st_size
        )
    return BundleRef(network=network, prefix=prefix, files=files)
