"""One attempt at a training: wait for devices, go on from the last checkpoint, stop on a signal."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from mftasks import devices, training
from mftasks.devices import gpus
from mftasks.devices.memory import peak_rss_bytes
from mftasks.errors import Interrupted
from mftasks.progress import OnTick, Tick

if TYPE_CHECKING:
    from mftasks.records import RunPlan, TrainConfig
    from mftasks.settings import Settings
    from mftasks.training.checkpoints import Checkpoints
    from mftasks.training.state import Data, State, Trained

log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    """A network that was trained to the end, from which epoch on, and on which devices."""

    trained: Trained
    resumed_from: int | None
    device: str


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
    tick = functools.partial(Tick, work=work, total=config.epochs, unit="epochs")
    start = checkpoints.read_latest()
    with devices.hold(
        plan.device,
        plan.devices,
        settings,
        holder=f"{work} of {plan.run_id}",
        on_wait=lambda text: on_tick(tick(done=0, waiting_for=text)),
    ) as held:
        name = gpus.describe(held)
        begins = f"resumes after epoch {start.epoch}" if start else "starts"
        log.info("%s: %s on %s", work, begins, name)

        def on_epoch(state: State) -> None:
            checkpoints.offer(state)
            epoch = state.history[-1]
            progress = tick(
                done=state.epoch,
                device=name,
                epoch=epoch,
                seconds_left=epoch.seconds / state.epoch * (config.epochs - state.epoch),
                peak_rss_bytes=peak_rss_bytes(),
                gpus=gpus.usage(held),
                failed_checkpoints=checkpoints.n_failed,
            )
            on_tick(progress)

        with _stop_on_signals() as stop:
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


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[Callable[[], None]]:
    """Give a function that raises `Interrupted` once SIGTERM or SIGINT has arrived.

    It is called between two batches, where a training can stop.
    """
    arrived: list[int] = []

    def stop() -> None:
        if arrived:
            name = signal.Signals(arrived[0]).name
            raise Interrupted(f"{name} stopped the training; start it again to resume")

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread gets signals
        return
    usual = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
