"""Each service of docker-compose.yaml dies once in the middle of a run, and every run is published all the same.

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
from tests.deployment import deployed
from tests.deployment.deployed import CONF, Deployed, trainings
from tests.deployment.engine.compose import PATIENCE_SECONDS
from tests.deployment.faults import rows
from tests.deployment.faults.rows import ServiceRow
from tests.deployment.faults.runs import Runs
from tests.waiting import wait

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not()),
]

TRAINING, REPORT = "train_linear", "report"
FAULT_AT = 3  # epochs
MID_RUN = CONF | {"epochs": 12}
TINY = CONF | {"networks": ["linear"], "epochs": 2, "overrides": {}}
MANY = 20
# Airflow gives a task 10 min in a queue, and looks every 2 min: after the third time it used to fail.
QUEUED_FOR_15_SECONDS = """
AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT=15
AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL=5
"""
STUCK = "Task stuck in queued"
OFTEN = 4  # Airflow gives up after two, by default
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
    """The bundles that an undisturbed run makes, and what was measured of each run."""

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
        fault: Callable[[], Any] | None = None,
        in_task: str = TRAINING,
    ) -> ServiceRow:
        """Do a run, inject a fault while it is in a task, and keep a row of how it ended."""
        self.runs.repair()
        began, well = time.monotonic(), None
        self.runs.begin(run_id, MID_RUN)
        if fault is not None:
            self.deployed.wait(lambda: self._is_in(run_id, in_task), run_id)
            fault()
            injected = time.monotonic()
            self.deployed.deployment.wait_until_healthy()
            well = time.monotonic() - injected
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

    def _is_in(self, run_id: str, task_id: str) -> bool:
        """Return whether a run is in a task; in a training, once some epochs are done."""
        if task_id == TRAINING:
            tick = self.deployed.airflow.progress(run_id, TRAINING)
            return tick is not None and tick.epoch is not None and tick.epoch.epoch >= FAULT_AT
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
    def fault() -> None:
        every = [each for each in chaos.deployed.deployment.containers if each.of == name]
        busy = [each for each in every if trainings(each)]
        chaos.deployed.deployment.kill([(busy or every)[0]])

    if name == "worker":
        row = chaos.run("without-worker", "worker, while it draws the report", fault, REPORT)
    else:
        row = chaos.run(f"without-{name}", name, fault)
    assert row.same_bundles
    if name in ("worker", "gpu-worker"):
        assert row.retries == 1


def test_a_run_survives_a_power_failure(chaos: Chaos) -> None:
    def fault() -> None:
        deployment = chaos.deployed.deployment
        deployment.kill([each for each in deployment.containers if each.running])

    row = chaos.run("power-failure", "all of them, in the same moment", fault)
    assert row.same_bundles


def test_a_run_survives_that_all_are_stopped_and_started_again(chaos: Chaos) -> None:
    deployment = chaos.deployed.deployment

    def fault() -> None:
        deployment.stop()
        deployment.start_again()

    row = chaos.run("restart", "nothing, but all are stopped, and started again", fault)
    assert row.same_bundles


def test_many_runs_that_are_queued_at_once_all_end(chaos: Chaos) -> None:
    names = [f"many-{n}" for n in range(MANY)]
    chaos.runs.repair()
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
        scheduler = running.deployment.container("scheduler").log
        wait(
            lambda: scheduler.read_text().count(STUCK) >= OFTEN,
            PATIENCE_SECONDS,
            lambda: running.describe("away"),
        )
        assert running.airflow.run_state("away") == "running", running.describe("away")
        worker.start_again()
        assert running.wait_for_end("away") == "success", running.describe("away")
