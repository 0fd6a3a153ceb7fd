"""What a cluster does when parts of it die in mid-training, one scenario a test.

However it goes, the run ends well, its bundle is that of a run that nobody disturbed, to the bit,
nothing is left over, and no more is trained twice than fits between two checkpoints.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.cluster import cluster, rows
from tests.cluster.chaos import CONF, Blow, Chaos, epoch_seconds, moments, ratings, struck
from tests.cluster.cluster import Training
from tests.cluster.worker import Worker

pytestmark = pytest.mark.slow  # 9 minutes: `make chaos`

ROOT = Path(__file__).parents[2]
OUTAGE_SECONDS = 20.0
AIRFLOWS_PATIENCE_SECONDS = 5.0  # from its SIGTERM to a task process until its SIGKILL
PAIR = {"networks": ["linear", "mlp"], "overrides": {"mlp": {"epochs": 10}}}
RETRY_SECONDS = 5.0  # after these the holder itself asks for the device again


class Pair(NamedTuple):
    """Hold two trainings for one device, and how soon it was the other's when its holder died."""

    holder: Training
    waiting: Training
    freed: float
    blow: Blow


@pytest.fixture(scope="module")
def chaos(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("cluster")
    conf = {"dataset": ratings(folder / "ratings.csv").as_uri(), **CONF}
    measured: list[rows.Row] = []
    with rows.TABLE.kept(measured, request), cluster.running(folder) as running:
        training = running.train("undisturbed", conf | PAIR)
        assert running.wait_for_end("undisturbed") == "success", running.said("undisturbed")
        bundle = running.bundle("undisturbed")
        yield Chaos(running, conf, bundle, epoch_seconds(training), measured)
    rows.write_json(measured, ROOT / "output" / "chaos.json")


def test_an_undisturbed_training_does_every_epoch_once_and_leaves_nothing(chaos: Chaos) -> None:
    training = Training(chaos.cluster, "undisturbed", "linear")
    assert training.epochs() == list(range(1, CONF["epochs"] + 1))
    assert training.task().try_number == 1
    assert {name.partition("/")[0] for name in chaos.reference} == {"linear", "mlp"}
    chaos.leaves_nothing()


def test_a_training_survives_five_deaths_and_the_first_shows_what_one_costs(chaos: Chaos) -> None:
    training = chaos.training("child-killed")
    blows = [struck(training, lambda it: it.child().kill()) for _ in range(5)]
    worst = Blow(
        noticed=max(blow.noticed for blow in blows),
        lost=sum(blow.lost for blow in blows),
        again=max(blow.again for blow in blows),
    )
    chaos.ends_well(training, "SIGKILL to the training", blows[0], retries=1)
    chaos.ends_well(training, "the same five times; the longest waits", worst)
    assert chaos.rows[-1].retries == len(training.resumed()) == 5


def test_a_training_that_is_asked_to_stop_loses_nothing(chaos: Chaos) -> None:
    chaos.survives("SIGTERM to the training", "child-asked", lambda it: it.child().terminate())
    assert chaos.rows[-1].epochs_lost == 0


def test_a_training_does_not_outlive_its_task_process(chaos: Chaos) -> None:
    def blow(training: Training) -> None:
        child = training.child()
        training.task_process().kill()
        child.wait(5)

    chaos.survives("SIGKILL to the task process", "task-killed", blow)


def test_a_task_process_that_is_asked_to_stop_loses_nothing(chaos: Chaos) -> None:
    chaos.survives(
        "SIGTERM to the task process", "task-asked", lambda it: it.task_process().terminate()
    )
    assert chaos.rows[-1].epochs_lost == 0


def test_a_training_that_is_marked_failed_stops_and_goes_on_once_cleared(chaos: Chaos) -> None:
    training = chaos.training("marked-failed")
    gone = _seconds_until_gone(training, lambda: training.mark("failed"))
    assert chaos.cluster.wait_for_end("marked-failed") == "failed"
    chaos.leaves_nothing()
    assert len(training.checkpoints()) == 1
    began = time.monotonic()
    training.clear()
    blow = Blow(gone, training.goes_on(1), time.monotonic() - began)
    chaos.ends_well(training, "marked failed, then cleared", blow)
    assert blow.lost == 0


def test_a_training_that_is_cleared_goes_on_at_once(chaos: Chaos) -> None:
    training = chaos.training("cleared")
    began = time.monotonic()
    gone = _seconds_until_gone(training, training.clear)
    blow = Blow(gone, training.goes_on(1), time.monotonic() - began)
    chaos.ends_well(training, "cleared while it trains", blow)
    assert blow.lost == 0


def test_a_training_outlasts_the_absence_of_the_store(chaos: Chaos) -> None:
    store = chaos.cluster.store
    mended = threading.Thread(
        target=lambda: (time.sleep(OUTAGE_SECONDS), store.start(), store.wait())
    )
    training = chaos.training("no-store")
    store.stop()
    mended.start()
    try:
        training.wait(lambda: training.task().state != "running", 120)
    finally:
        mended.join()
    chaos.ends_well(training, f"no object store for {OUTAGE_SECONDS:.0f} s", Blow())
    assert training.epochs() == list(range(1, CONF["epochs"] + 1))
    assert chaos.rows[-1].retries == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk that is small enough")
def test_a_full_disk_is_named_and_survived(chaos: Chaos) -> None:
    caches = [worker.cache for worker in chaos.cluster.workers.values()]
    advice = r"cache [^ ]+: .*No space left on device; free some room, or set MF_CACHE"

    def blow(training: Training) -> None:
        for cache in caches:
            disks.enter_context(_small_disk(cache))
            with contextlib.suppress(OSError), (cache / "full").open("wb") as file:
                file.write(bytes(32 << 20))
        training.child().kill()

    def then(training: Training) -> None:
        training.wait(lambda: re.search(advice, training.said()), 60)
        training.wait(lambda: training.task().state != "running", 10)
        for cache in caches:
            (cache / "full").unlink()

    with contextlib.ExitStack() as disks:
        chaos.survives(
            "SIGKILL to the training, cache lost and its disk full", "full", blow, then=then
        )
    assert chaos.rows[-1].retries >= 2


def test_another_worker_takes_over_from_one_that_lost_power(chaos: Chaos) -> None:
    lost: list[Worker] = []

    def blow(training: Training) -> None:
        lost.append(training.worker())
        lost[0].kill()

    training = chaos.survives("a worker loses power", "worker-killed", blow)
    assert chaos.rows[-1].noticed_seconds < 30
    assert not training.attempts()[-1].is_relative_to(lost[0].logs)


def test_a_worker_that_is_asked_to_stop_hands_its_training_over(chaos: Chaos) -> None:
    asked: list[Worker] = []

    def blow(training: Training) -> None:
        asked.append(training.worker())
        asked[0].terminate()

    training = chaos.survives("SIGTERM to a worker", "worker-asked", blow)
    assert chaos.rows[-1].epochs_lost == 0
    asked[0].wait_to_end(30)
    assert not training.attempts()[-1].is_relative_to(asked[0].logs)


@pytest.fixture(scope="module")
def pair(chaos: Chaos) -> Pair:
    """Give two trainings that wanted the one device of the one worker; its first holder died."""
    chaos.cluster.only("a", MF_CPU_SLOTS="1")
    chaos.cluster.train("one-device", chaos.conf | PAIR)
    both = [Training(chaos.cluster, "one-device", name) for name in PAIR["networks"]]
    holder = _holder(both)
    [waiting] = [one for one in both if one is not holder]
    waiting.wait(lambda: "is held by train" in waiting.said(), 30)
    killed: list[datetime] = []

    def blow(_: Training) -> None:
        killed.append(datetime.now(UTC))
        holder.child().kill()

    def then(_: Training) -> None:
        waiting.wait(lambda: chaos.cluster.workers["a"].signed("cpu-0")[0] == _name(waiting), 10)
        killed.append(chaos.cluster.workers["a"].signed("cpu-0")[1])

    result = struck(holder, blow, then=then)
    return Pair(holder, waiting, (killed[1] - killed[0]).total_seconds(), result)


def test_two_trainings_with_one_device_take_turns(chaos: Chaos, pair: Pair) -> None:
    what = "two trainings, one device"
    chaos.ends_well(pair.waiting, what, Blow())
    assert chaos.rows[-1].retries == 0
    assert f"is held by {_name(pair.holder)}" in pair.waiting.said()
    logs = [log for one in (pair.holder, pair.waiting) for log in one.attempts()]
    trained = [each for log in logs if len(each := moments(log.read_text()))]
    spans = sorted((each[0], each[-1]) for each in trained)
    assert len(spans) == 3
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_a_device_is_free_as_soon_as_its_holder_is_dead(chaos: Chaos, pair: Pair) -> None:
    what = "SIGKILL to the holder of the one device"
    chaos.ends_well(pair.holder, what, pair.blow)
    chaos.ends_well(pair.waiting, "the training that waited for it", Blow(again=pair.freed))
    assert 0 < pair.freed < RETRY_SECONDS


def _holder(both: list[Training]) -> Training:
    """Return the training that has the device, once it has a checkpoint."""
    both[0].wait(lambda: any(one.checkpoints() for one in both), 60)
    return next(one for one in both if one.checkpoints())


def _name(training: Training) -> str:
    return f"train {training.network} of {training.run_id}"


def _seconds_until_gone(training: Training, blow: Callable[[], None]) -> float:
    child, began = training.child(), time.monotonic()
    blow()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(AIRFLOWS_PATIENCE_SECONDS)
    return time.monotonic() - began


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """Hide a folder behind a disk of 16 MiB of its own."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
