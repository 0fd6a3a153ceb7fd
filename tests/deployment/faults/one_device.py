"""Two trainings that want the one device of the one worker, and the death of the one that has it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from tests.deployment.engine.container import Container
from tests.deployment.faults.chaos import Chaos, Effect, inject
from tests.deployment.faults.training import Training

RUN = "one-device"


class Pair(NamedTuple):
    """The two trainings, and when the holder was killed and the other one had the device."""

    holder: Training
    waiting: Training
    killed_at: datetime
    leased_at: datetime
    effect: Effect


@contextlib.contextmanager
def holder_killed(chaos: Chaos, conf: dict[str, object]) -> Iterator[Pair]:
    """Start both, kill the holder while the other one waits, and give them once the holder trains again."""
    chaos.runs.repair()
    with _one_worker(chaos, MF_GPUS="2", MF_CPU_SLOTS="1"):
        chaos.runs.begin(RUN, conf)
        both = [Training(chaos.runs.deployed, RUN, name) for name in ("linear", "mlp")]
        both[0].wait(lambda: any(one.checkpoints() for one in both))
        [holder] = [one for one in both if one.checkpoints()]
        [waiting] = [one for one in both if one is not holder]
        waiting.wait(lambda: "is held by train" in waiting.log())
        moments: list[datetime] = []

        def kill(_: Training) -> None:
            moments.append(datetime.now(UTC))
            holder.child().kill()

        def wait_for_the_other(_: Training) -> None:
            waiting.wait(lambda: _find_start(waiting))
            moments.extend(_find_start(waiting))

        effect = inject(holder, kill, then=wait_for_the_other)
        yield Pair(holder, waiting, *moments, effect)


@contextlib.contextmanager
def _one_worker(chaos: Chaos, **settings: str) -> Iterator[Container]:
    """Let there be one GPU worker, with other settings, on a host of its own."""
    deployment = chaos.runs.deployed.deployment
    for each in chaos.runs.deployed.gpu_workers():
        each.power_off()
    added = deployment.add("gpu-worker", **settings)
    try:
        deployment.wait_until_healthy()
        yield added
    finally:
        deployment.remove(added)


def _find_start(training: Training) -> list[datetime]:
    """Return when a training has got its device, if it has; its lease may be the next one's by now."""
    stamps = re.findall(r'"timestamp":"([^"]+)".*: starts on ', training.log())
    return [datetime.fromisoformat(stamp) for stamp in stamps[:1]]
