"""What a deployment does when parts of it die in the middle of a training, one scenario per test.

Run by `make chaos`.

However it goes, the run ends well, its bundle is that of a run that nobody disturbed, to the bit,
nothing is left over, and no more is trained twice than fits between two checkpoints.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.deployment import deployed, logs
from tests.deployment.engine.container import Container
from tests.deployment.faults import disk, one_device, rows
from tests.deployment.faults.chaos import LONG, Chaos, Effect, inject
from tests.deployment.faults.one_device import Pair
from tests.deployment.faults.rows import TrainingRow
from tests.deployment.faults.runs import Runs
from tests.deployment.faults.training import Training, moments

pytestmark = pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not())

slow = pytest.mark.slow  # all but a few: 12 minutes
UNDISTURBED = "nobody-disturbs"
OUTAGE_SECONDS = 20.0
GONE_SECONDS = 60.0
AIRFLOWS_OWN_SECONDS = 300.0  # until it notices a dead worker, without docker/airflow.env
CACHE = "/opt/airflow/cache"
PAIR = LONG | {"networks": ["linear", "mlp"], "overrides": {"mlp": {"epochs": 10}}}


@pytest.fixture(scope="module")
def chaos(runs: Runs, request: pytest.FixtureRequest) -> Iterator[Chaos]:
    measured: list[TrainingRow] = []
    runs.repair()
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
    effects = [inject(training, lambda it: it.child().kill()) for _ in range(5)]
    worst = Effect(
        noticed=max(effect.noticed for effect in effects),
        lost=sum(effect.lost for effect in effects),
        again=max(effect.again for effect in effects),
    )
    chaos.ends_well(training, "the same five times; the longest waits", worst)
    assert chaos.rows[-1].retries == len(training.resumed()) == 5


@slow
def test_a_training_that_is_asked_to_stop_loses_nothing(chaos: Chaos) -> None:
    chaos.survives("SIGTERM to the training", "child-asked", lambda it: it.child().terminate())
    assert (chaos.rows[-1].epochs_lost, chaos.rows[-1].retries) == (0, 0)


@slow
def test_a_training_does_not_outlive_its_task_process(chaos: Chaos) -> None:
    def fault(training: Training) -> None:
        child = training.child()
        training.task_process().kill()
        child.wait(GONE_SECONDS)

    chaos.survives("SIGKILL to the task process", "task-killed", fault)


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
    effect = Effect(gone, training.wait_until_it_goes_on(1), time.monotonic() - began)
    chaos.ends_well(training, "marked failed, then cleared", effect)
    assert effect.lost == 0


@slow
def test_a_training_that_is_cleared_goes_on_at_once(chaos: Chaos) -> None:
    training = chaos.training("cleared")
    began = time.monotonic()
    gone = _seconds_until_gone(training, training.clear)
    effect = Effect(gone, training.wait_until_it_goes_on(1), time.monotonic() - began)
    chaos.ends_well(training, "cleared while it trains", effect)
    assert effect.lost == 0


@slow
def test_a_training_outlasts_the_absence_of_the_store(chaos: Chaos) -> None:
    store = chaos.runs.deployed.deployment.container("seaweedfs")
    training = chaos.training("no-store")
    back = threading.Timer(OUTAGE_SECONDS, store.start_again)
    store.power_off()
    back.start()
    try:
        training.wait(lambda: training.task().state != "running")
    finally:
        back.join()
    chaos.ends_well(training, f"no object store for {OUTAGE_SECONDS:.0f} s", Effect())
    assert training.epochs() == list(range(1, LONG["epochs"] + 1))
    assert chaos.rows[-1].retries == 0


@slow
def test_a_full_disk_is_named_and_survived(chaos: Chaos) -> None:
    workers = chaos.runs.deployed.gpu_workers()
    advice = r"cache [^ ]+: .*No space left on device; free some room, or set MF_CACHE"
    full: list[Path] = []

    def fault(training: Training) -> None:
        full.extend(disks.enter_context(disk.full(worker, CACHE)) for worker in workers)
        training.child().kill()

    def then(training: Training) -> None:
        training.wait(lambda: re.search(advice, training.log()))
        training.wait(lambda: training.task().state != "running")
        for filling in full:
            filling.unlink()

    with contextlib.ExitStack() as disks:
        chaos.survives(
            "SIGKILL to the training, cache lost and its disk full", "full", fault, then=then
        )
    assert chaos.rows[-1].retries >= 2


def test_another_worker_takes_over_from_one_that_lost_power(chaos: Chaos) -> None:
    lost: list[Container] = []

    def fault(training: Training) -> None:
        lost.append(training.worker())
        lost[0].power_off()

    training = chaos.survives("a GPU worker loses power", "worker-killed", fault)
    assert chaos.rows[-1].noticed_seconds < AIRFLOWS_OWN_SECONDS / 2
    assert training.host() in chaos.runs.deployed.gpu_workers()
    assert training.host() is not lost[0]


def test_a_worker_that_is_asked_to_stop_hands_its_training_over(chaos: Chaos) -> None:
    asked: list[Container] = []

    def fault(training: Training) -> None:
        asked.append(training.worker())
        asked[0].ask_to_stop()

    training = chaos.survives("SIGTERM to a GPU worker", "worker-asked", fault)
    assert chaos.rows[-1].epochs_lost == 0
    assert chaos.rows[-1].retries == 0
    training.wait(lambda: not asked[0].running)
    assert training.host() in chaos.runs.deployed.gpu_workers()
    assert training.host() is not asked[0]


@pytest.fixture(scope="module")
def pair(chaos: Chaos) -> Iterator[Pair]:
    with one_device.holder_killed(chaos, PAIR) as pair:
        yield pair


@slow
def test_two_trainings_with_one_device_take_turns(chaos: Chaos, pair: Pair) -> None:
    what = "two trainings, one device"
    chaos.ends_well(pair.waiting, what, Effect())
    assert chaos.rows[-1].retries == 0
    assert f"is held by {pair.holder.name}" in pair.waiting.log()
    logs = [log for one in (pair.holder, pair.waiting) for log in one.attempts()]
    trained = [each for log in logs if len(each := moments(log))]
    spans = sorted((each[0], each[-1]) for each in trained)
    assert len(spans) == 3
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


@slow
def test_a_device_is_free_as_soon_as_its_holder_is_dead(chaos: Chaos, pair: Pair) -> None:
    chaos.ends_well(pair.holder, "SIGKILL to the holder of the one device", pair.effect)
    freed = (pair.leased_at - pair.killed_at).total_seconds()
    chaos.ends_well(pair.waiting, "the training that waited for it", Effect(again=freed))
    retried_at = datetime.fromisoformat(logs.began(pair.holder.attempts()[1]))
    assert pair.killed_at < pair.leased_at < retried_at


def _seconds_until_gone(training: Training, fault: Callable[[], None]) -> float:
    child, began = training.child(), time.monotonic()
    fault()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(GONE_SECONDS)
    return time.monotonic() - began
