"""One attempt at a training: wait for devices, go on from the last checkpoint, stop on a signal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from mftasks import devices, networks, training
from mftasks.devices import gpus
from mftasks.devices.memory import peak_rss_bytes
from mftasks.errors import Interrupted
from mftasks.progress import OnTick, Tick
from mftasks.records import TrainResult
from mftasks.training import signals

if TYPE_CHECKING:
    from mftasks.devices import Device
    from mftasks.records import BundleRef, RunPlan, TrainConfig
    from mftasks.settings import Settings
    from mftasks.training.checkpoints import Checkpoints
    from mftasks.training.state import Data, State, Trained

log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    """A network that was trained to the end, from which epoch on, and on which devices."""

    trained: Trained
    resumed_from: int | None
    device: str

    def describe(
        self, config: TrainConfig, split_fingerprint: str, bundle: BundleRef
    ) -> TrainResult:
        """Return the record of the training whose network `bundle` holds."""
        from mftasks.networks._layers import describe  # it imports MXNet

        trained = self.trained
        return TrainResult(
            config=config,
            split_fingerprint=split_fingerprint,
            history=trained.history,
            best_epoch=trained.best_epoch,
            stopped=trained.stopped,
            resumed_from=self.resumed_from,
            device=self.device,
            seconds=trained.history[-1].seconds,
            cpu_seconds=trained.cpu_seconds,
            peak_rss_bytes=peak_rss_bytes(),
            bundle=bundle,
            formula=networks.read_formula(config.network),
            architecture=describe(config.network, trained.block),
        )


def attempt(
    plan: RunPlan,
    config: TrainConfig,
    data: Data,
    checkpoints: Checkpoints,
    *,
    settings: Settings,
    on_tick: OnTick,
) -> Attempt:
    """Train the network of `config` on as many devices of this host as the plan asks for, and release them.

    Raises `Interrupted` on SIGTERM or SIGINT, after the last whole epoch was stored, and what
    `devices.hold` and `training.fit` raise.
    """
    work = f"train {config.network}"

    def tick(**figures: Any) -> None:
        on_tick(Tick(work=work, total=config.epochs, unit="epochs", **figures))

    start = checkpoints.read_latest()
    with devices.hold(
        plan.device,
        plan.devices,
        settings,
        holder=f"{work} of {plan.run_id}",
        on_wait=lambda text: tick(done=0, waiting_for=text),
    ) as held:
        name = gpus.describe(held)
        log.info(
            "%s: %s on %s", work, f"resumes after epoch {start.epoch}" if start else "starts", name
        )

        def on_epoch(state: State) -> None:
            checkpoints.offer(state)
            figures = _epoch_figures(state, config, held)
            tick(**figures, failed_checkpoints=checkpoints.n_failed)

        with signals.stoppable() as stop:
            try:
                trained = training.fit(
                    config,
                    data,
                    kind=held[0].kind,
                    n_devices=plan.devices,
                    start=start,
                    on_epoch=on_epoch,
                    on_batch=stop,
                )
            except Interrupted:
                checkpoints.save()
                raise
    return Attempt(trained, start.epoch if start else None, name)


def _epoch_figures(state: State, config: TrainConfig, held: tuple[Device, ...]) -> dict[str, Any]:
    metrics = state.history[-1]
    return {
        "done": state.epoch,
        "device": gpus.describe(held),
        "epoch": metrics,
        "seconds_left": metrics.seconds / state.epoch * (config.epochs - state.epoch),
        "peak_rss_bytes": peak_rss_bytes(),
        "gpus": gpus.usage(held),
    }
