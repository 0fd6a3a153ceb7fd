"""What a deployment does when parts of it die in mid-training, one scenario a test.

Run by `make chaos`.

However it goes, the run ends well, its bundle is that of a run that nobody disturbed, to the bit,
nothing is left over, and no more is trained twice than fits between two checkpoints.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.deployment import deployed, disk, rows
from tests.deployment.chaos import LONG, Blow, Chaos, struck
from tests.deployment.container import Container
from tests.deployment.rows import TrainingRow
from tests.deployment.runs import Runs
from tests.deployment.training import Training, moments

pytestmark = pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not())

slow = pytest.mark.slow  # all but a few: 12 minutes
UNDISTURBED = "nobody-disturbs"
OUTAGE_SECONDS = 20.0
AIRFLOWS_PATIENCE_SECONDS = 5.0  # from its SIGTERM to a task process until its SIGKILL
CACHE = "/opt/airflow/cache"
PAIR = LONG | {"networks": ["linear", "mlp"], "overrides": {"mlp": {"epochs": 10}}}
RETRY_SECONDS = 5.0  # after these the holder itself asks for the device again


class Pair(NamedTuple):
    """Hold two trainings for one device, and how soon it was the other's when its holder died."""

    holder: Training
    waiting: Training
    freed: float
    blow: Blow


@pytest.fixture(scope="module")
def chaos(runs: Runs, request: pytest.FixtureRequest) -> Iterator[Chaos]:
    measured: list[TrainingRow] = []
    runs.mend()
    with rows.TRAININGS.kept(measured, request):
        runs.begin(UNDISTURBED, PAIR)
        reference = runs.published(UNDISTURBED)
        seconds = Training(runs.deployed, UNDISTURBED).epoch_seconds()
        yield Chaos(runs, reference, seconds, measured)


def test_an_undisturbed_training_does_every_epoch_once_and_leaves_nothing(chaos: Chaos) -> None:
    training = Training(chaos.runs.deployed, UNDISTURBED)
    assert training.epochs() == list(range(1, LONG["epochs"] + 1))
    assert training.task().try_number == 1
    assert {name.partition("/")[0] for name in chaos.reference} == {"linear", "mlp"}
    chaos.leaves_nothing()


def test_a_training_that_is_killed_goes_on(chaos: Chaos) -> None:
    training = chaos.survives(
        "SIGKILL to the training", "child-killed", lambda it: it.child().kill()
    )
    assert chaos.rows[-1].retries == len(training.resumed()) == 1


@slow
def test_a_training_survives_five_deaths(chaos: Chaos) -> None:
    training = chaos.training("child-killed-5")
    blows = [struck(training, lambda it: it.child().kill()) for _ in range(5)]
    worst = Blow(
        noticed=max(blow.noticed for blow in blows),
        lost=sum(blow.lost for blow in blows),
        again=max(blow.again for blow in blows),
    )
    chaos.ends_well(training, "the same five times; the longest waits", worst)
    assert chaos.rows[-1].retries == len(training.resumed()) == 5


@slow
def test_a_training_that_is_asked_to_stop_loses_nothing(chaos: Chaos) -> None:
    chaos.survives("SIGTERM to the training", "child-asked", lambda it: it.child().terminate())
    assert (chaos.rows[-1].epochs_lost, chaos.rows[-1].retries) == (0, 0)


@slow
def test_a_training_does_not_outlive_its_task_process(chaos: Chaos) -> None:
    def blow(training: Training) -> None:
        child = training.child()
        training.task_process().kill()
        child.wait(5)

    chaos.survives("SIGKILL to the task process", "task-killed", blow)


@slow
def test_a_task_process_that_is_asked_to_stop_loses_nothing(chaos: Chaos) -> None:
    chaos.survives(
        "SIGTERM to the task process", "task-asked", lambda it: it.task_process().terminate()
    )
    assert (chaos.rows[-1].epochs_lost, chaos.rows[-1].retries) == (0, 0)


@slow
def test_a_training_that_is_marked_failed_stops_and_goes_on_once_cleared(chaos: Chaos) -> None:
    training = chaos.training("marked-failed")
    gone = _seconds_until_gone(training, lambda: training.mark("failed"))
    assert chaos.runs.deployed.wait_for_end("marked-failed") == "failed"
    chaos.leaves_nothing()
    assert len(training.checkpoints()) == 1
    began = time.monotonic()
    training.clear()
    blow = Blow(gone, training.goes_on(1), time.monotonic() - began)
    chaos.ends_well(training, "marked failed, then cleared", blow)
    assert blow.lost == 0


@slow
def test_a_training_that_is_cleared_goes_on_at_once(chaos: Chaos) -> None:
    training = chaos.training("cleared")
    began = time.monotonic()
    gone = _seconds_until_gone(training, training.clear)
    blow = Blow(gone, training.goes_on(1), time.monotonic() - began)
    chaos.ends_well(training, "cleared while it trains", blow)
    assert blow.lost == 0


@slow
def test_a_training_outlasts_the_absence_of_the_store(chaos: Chaos) -> None:
    store = chaos.runs.deployed.deployment.container("seaweedfs")
    training = chaos.training("no-store")
    mended = threading.Timer(OUTAGE_SECONDS, store.start_again)
    store.power_off()
    mended.start()
    try:
        training.wait(lambda: training.task().state != "running", 120)
    finally:
        mended.join()
    chaos.ends_well(training, f"no object store for {OUTAGE_SECONDS:.0f} s", Blow())
    assert training.epochs() == list(range(1, LONG["epochs"] + 1))
    assert chaos.rows[-1].retries == 0


@slow
def test_a_full_disk_is_named_and_survived(chaos: Chaos) -> None:
    workers = chaos.runs.deployed.gpu_workers()
    advice = r"cache [^ ]+: .*No space left on device; free some room, or set MF_CACHE"
    full: list[Path] = []

    def blow(training: Training) -> None:
        full.extend(disks.enter_context(disk.full(worker, CACHE)) for worker in workers)
        training.child().kill()

    def then(training: Training) -> None:
        training.wait(lambda: re.search(advice, training.said()), 60)
        training.wait(lambda: training.task().state != "running", 10)
        for filling in full:
            filling.unlink()

    with contextlib.ExitStack() as disks:
        chaos.survives(
            "SIGKILL to the training, cache lost and its disk full", "full", blow, then=then
        )
    assert chaos.rows[-1].retries >= 2


def test_another_worker_takes_over_from_one_that_lost_power(chaos: Chaos) -> None:
    lost: list[Container] = []

    def blow(training: Training) -> None:
        lost.append(training.worker())
        lost[0].power_off()

    training = chaos.survives("a GPU worker loses power", "worker-killed", blow)
    assert chaos.rows[-1].noticed_seconds < 30
    assert training.host() in chaos.runs.deployed.gpu_workers()
    assert training.host() is not lost[0]


def test_a_worker_that_is_asked_to_stop_hands_its_training_over(chaos: Chaos) -> None:
    asked: list[Container] = []

    def blow(training: Training) -> None:
        asked.append(training.worker())
        asked[0].ask_to_stop()

    training = chaos.survives("SIGTERM to a GPU worker", "worker-asked", blow)
    assert chaos.rows[-1].epochs_lost == 0
    assert chaos.rows[-1].retries == 0
    training.wait(lambda: not asked[0].running, 30)
    assert training.host() in chaos.runs.deployed.gpu_workers()
    assert training.host() is not asked[0]


@pytest.fixture(scope="module")
def pair(chaos: Chaos) -> Iterator[Pair]:
    """Give two trainings that wanted the one device of the one worker; its first holder died."""
    chaos.runs.mend()
    with _alone(chaos, MF_GPUS="2", MF_CPU_SLOTS="1") as worker:
        chaos.runs.begin("one-device", PAIR)
        both = [Training(chaos.runs.deployed, "one-device", name) for name in PAIR["networks"]]
        holder = _holder(both)
        [waiting] = [one for one in both if one is not holder]
        waiting.wait(lambda: "is held by train" in waiting.said(), 30)
        at: list[datetime] = []

        def blow(_: Training) -> None:
            at.append(datetime.now(UTC))
            holder.child().kill()

        def then(_: Training) -> None:
            waiting.wait(lambda: _signed(worker)[0] == waiting.name, 10)
            at.append(_signed(worker)[1])

        result = struck(holder, blow, then=then)
        yield Pair(holder, waiting, (at[1] - at[0]).total_seconds(), result)


@slow
def test_two_trainings_with_one_device_take_turns(chaos: Chaos, pair: Pair) -> None:
    what = "two trainings, one device"
    chaos.ends_well(pair.waiting, what, Blow())
    assert chaos.rows[-1].retries == 0
    assert f"is held by {pair.holder.name}" in pair.waiting.said()
    logs = [log for one in (pair.holder, pair.waiting) for log in one.attempts()]
    trained = [each for log in logs if len(each := moments(log))]
    spans = sorted((each[0], each[-1]) for each in trained)
    assert len(spans) == 3
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


@slow
def test_a_device_is_free_as_soon_as_its_holder_is_dead(chaos: Chaos, pair: Pair) -> None:
    what = "SIGKILL to the holder of the one device"
    chaos.ends_well(pair.holder, what, pair.blow)
    chaos.ends_well(pair.waiting, "the training that waited for it", Blow(again=pair.freed))
    assert 0 < pair.freed < RETRY_SECONDS


@contextlib.contextmanager
def _alone(chaos: Chaos, **settings: str) -> Iterator[Container]:
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


def _holder(both: list[Training]) -> Training:
    """Return the training that has the device, once it has a checkpoint."""
    both[0].wait(lambda: any(one.checkpoints() for one in both), 60)
    return next(one for one in both if one.checkpoints())


def _signed(worker: Container) -> tuple[str, datetime]:
    """Return who has signed for the one device of a worker's host last, and when."""
    signed = json.loads((worker.volume("leases") / "cpu-0.lock").read_bytes())
    return signed["holder"], datetime.fromisoformat(signed["since"])


def _seconds_until_gone(training: Training, blow: Callable[[], None]) -> float:
    child, began = training.child(), time.monotonic()
    blow()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(AIRFLOWS_PATIENCE_SECONDS)
    return time.monotonic() - began
