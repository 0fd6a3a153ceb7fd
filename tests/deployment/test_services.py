"""Each service of docker-compose.yaml dies once in mid-run, and every run is published all the same.

Run by `make chaos`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mftasks import networks
from tests.deployment import deployed, rows
from tests.deployment.deployed import CONF, Deployed, trainings
from tests.deployment.rows import ServiceRow
from tests.deployment.runs import Runs
from tests.waiting import wait

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not()),
]

TRAINING, REPORT = "train_linear", "report"
HURT_AT = 3  # epochs
MID_RUN = CONF | {"epochs": 12}
TINY = CONF | {"networks": ["linear"], "epochs": 2, "overrides": {}}
MANY = 20
WELL_SECONDS = 300
POWER_SECONDS = 240
# Airflow gives a task 10 min in a queue, and looks every 2 min: after the third time it used to fail.
QUEUED_FOR_15_SECONDS = """
AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT=15
AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL=5
"""
AWAY_SECONDS = 100
SERVICES = (
    "postgres",
    "redis",
    "seaweedfs",
    "api-server",
    "scheduler",
    "dag-processor",
    "triggerer",
    "worker",
    "gpu-worker",
    "statsd-exporter",
    "prometheus",
    "alertmanager",
)


@dataclass(frozen=True)
class Chaos:
    """Hold the bundles that an undisturbed run makes, and what was measured of each run."""

    runs: Runs
    reference: dict[str, str]
    rows: list[ServiceRow]

    @property
    def deployed(self) -> Deployed:
        return self.runs.deployed

    def run(
        self,
        run_id: str,
        what: str,
        blow: Callable[[], Any] | None = None,
        in_task: str = TRAINING,
    ) -> ServiceRow:
        """Do a run, deal a blow while it is in a task, and keep a row of how it ended."""
        self.runs.mend()
        began, well = time.monotonic(), None
        self.runs.begin(run_id, MID_RUN)
        if blow is not None:
            wait(lambda: self._is_in(run_id, in_task), 120, lambda: self.deployed.said(run_id))
            blow()
            well = self.wait_until_well()
        files = self.runs.published(run_id)
        if not self.reference:
            self.reference.update(files)
        return self.keep(
            what=what,
            well_seconds=well,
            run_seconds=time.monotonic() - began,
            retries=self.runs.retries(run_id),
            same_bundles=files == self.reference,
        )

    def keep(self, **measured: Any) -> ServiceRow:
        """Keep a row."""
        self.rows.append(ServiceRow(**measured))
        return self.rows[-1]

    def wait_until_well(self) -> float:
        """Wait until every service is well again; return how long it took."""
        time.sleep(1)
        began = time.monotonic() - 1
        self.deployed.deployment.wait_until_healthy(WELL_SECONDS)
        return time.monotonic() - began

    def _is_in(self, run_id: str, task_id: str) -> bool:
        """Say whether a run is in a task; in a training, once some epochs are done."""
        if task_id == TRAINING:
            tick = self.deployed.airflow.progress(run_id, TRAINING)
            return tick is not None and tick.epoch is not None and tick.epoch.epoch >= HURT_AT
        tasks = self.deployed.airflow.tasks(run_id)
        return any(task.task_id == task_id and task.state == "running" for task in tasks)


@pytest.fixture(scope="module")
def chaos(runs: Runs, request: pytest.FixtureRequest) -> Iterator[Chaos]:
    measured: list[ServiceRow] = []
    with rows.SERVICES.kept(measured, request):
        yield Chaos(runs, {}, measured)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_gpu_workers_share_runs_in_a_row_which_give_the_same_bundles(chaos: Chaos, n: int) -> None:
    row = chaos.run(f"undisturbed-{n}", f"nothing, run {n} of 3")
    assert row.same_bundles
    assert row.retries == 0
    hosts = chaos.deployed.hosts(f"undisturbed-{n}")
    trained = {hosts[f"train_{name}"] for name in networks.names()}
    assert trained == set(chaos.deployed.gpu_workers())


@pytest.mark.parametrize("name", SERVICES)
def test_a_run_survives_the_death_of(chaos: Chaos, name: str) -> None:
    def blow() -> None:
        every = [each for each in chaos.deployed.deployment.containers if each.of == name]
        busy = [each for each in every if trainings(each)]
        (busy or every)[0].kill()

    if name == "worker":
        row = chaos.run("without-worker", "worker, while it draws the report", blow, REPORT)
    else:
        row = chaos.run(f"without-{name}", name, blow)
    assert row.same_bundles
    if name in ("worker", "gpu-worker"):
        assert row.retries == 1


def test_a_run_survives_a_power_failure(chaos: Chaos) -> None:
    def blow() -> None:
        for each in chaos.deployed.deployment.containers:
            if each.running:
                each.kill()

    row = chaos.run("power-failure", "all of them, in the same moment", blow)
    assert row.same_bundles
    assert row.run_seconds < POWER_SECONDS


def test_a_run_survives_that_all_are_stopped_and_started_again(chaos: Chaos) -> None:
    deployment = chaos.deployed.deployment

    def blow() -> None:
        deployment.stop()
        deployment.start_again()

    row = chaos.run("restart", "nothing, but all are stopped, and started again", blow)
    assert row.same_bundles


def test_many_runs_that_are_queued_at_once_all_end(chaos: Chaos) -> None:
    names = [f"many-{n}" for n in range(MANY)]
    chaos.runs.mend()
    began = time.monotonic()
    for name in names:
        chaos.deployed.trigger(name, TINY)
    bundles = [chaos.runs.published(name) for name in names]
    assert all(bundle == bundles[0] for bundle in bundles)
    chaos.keep(
        what=f"nothing, but {MANY} small runs are queued at once",
        well_seconds=None,
        run_seconds=time.monotonic() - began,
        retries=sum(map(chaos.runs.retries, names)),
        same_bundles=True,
    )


def test_every_run_was_published_once_and_none_was_changed(chaos: Chaos) -> None:
    assert chaos.runs.found() == chaos.runs.manifests


def test_trainings_wait_as_long_as_it_takes_for_a_gpu_worker_that_is_away(
    tmp_path: Path,
) -> None:
    with deployed.running(tmp_path, QUEUED_FOR_15_SECONDS) as running:
        worker = running.deployment.container("gpu-worker")
        worker.stop()
        running.trigger("away", TINY)
        time.sleep(AWAY_SECONDS)
        assert running.airflow.run_state("away") == "running", running.said("away")
        worker.start_again()
        assert running.wait_for_end("away") == "success", running.said("away")
