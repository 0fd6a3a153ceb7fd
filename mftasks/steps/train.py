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
from mftasks.records import BundleRef, RunPlan, SplitRef, TrainConfig, TrainResult
from mftasks.store import keys
from mftasks.store.blobs import refer_to
from mftasks.training import Data

if TYPE_CHECKING:
    from mftasks.data.arrays import Vocabulary
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)


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

    key = keys.network(run_id, network, "train.json")
    if (done := workspace.find_done(key, TrainResult)) is not None:
        return done
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    config = _find_config(plan, network)
    split = workspace.read(keys.run(run_id, "split.json"), SplitRef)
    vocabulary, data = _read_data(workspace, split)
    with of_training(workspace, run_id, config, split.fingerprint) as checkpoints:
        ended = attempt(
            plan, config, data, checkpoints, settings=workspace.settings, on_tick=on_tick
        )
    from mftasks.bundle import FILES
    from mftasks.bundle.export import export, make_header  # it imports MXNet

    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        folder = Path(name)
        trained = ended.trained
        header = make_header(
            config, split, vocabulary, len(data.train.ratings), trained.kept.valid_rmse
        )
        export(
            folder,
            trained.block,
            header,
            vocabulary,
            data.train,
            data.biases,
            unit=trained.unit,
            share=trained.kept.share,
        )
        prefix = keys.network(run_id, network, "bundle/")
        files = {
            name: refer_to(f"{prefix}{name}", folder / name)
            for name in FILES
            if (folder / name).exists()
        }
        bundle = BundleRef(network=network, prefix=prefix, files=files)
        return _put(workspace, key, ended.describe(config, split.fingerprint, bundle), folder)


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


@tenacity.retry(  # the store may be away; what was learned since the last checkpoint is not lost
    retry=tenacity.retry_if_exception_type(StoreUnavailable),
    stop=tenacity.stop_after_delay(300),
    wait=tenacity.wait_fixed(2),
    before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
    reraise=True,
)
def _put(workspace: Workspace, key: str, result: TrainResult, folder: Path) -> TrainResult:
    """Put the bundle, and last the result: until it is there, files of another attempt are replaced."""
    from mftasks.bundle import FILES

    if (done := workspace.find(key, TrainResult)) is not None:
        log.info("train %s: another attempt has put %s", result.config.network, key)
        return done
    for name, ref in result.bundle.files.items():
        workspace.store.put(ref.key, folder / name, FILES[name])
    log.info(
        "train %s: its bundle has the weights of epoch %d", result.config.network, result.best_epoch
    )
    return workspace.write(key, result)
