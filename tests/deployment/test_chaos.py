"""Each service of docker-compose.yaml dies once in mid-run, and every run is published all the same.

    make chaos-deployment

It takes 25 min, and writes the table in ARCHITECTURE.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from mf_airflow.rest import RequestRefused
from tests.deployment import deployed, rows
from tests.deployment.deployed import BUCKET, CONF, ENDED, Deployed, trainings
from tests.deployment.rows import Row
from tests.waiting import wait

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not()),
]

HURT_AT = 3  # epochs
MID_RUN = CONF | {"epochs": 12}
TINY = CONF | {"networks": ["linear"], "epochs": 2, "overrides": {}}
MANY = 20
WELL_SECONDS = 300
POWER_SECONDS = 240
IN_REPORT = ", while it draws the report"
RUN_SECONDS = 600
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
    """Hold a deployment, the bundles that a run makes, and what was measured of each run."""

    running: Deployed
    bundles: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def run(
        self,
        run_id: str,
        what: str,
        blow: Callable[[], Any] | None = None,
        in_task: str | None = None,
    ) -> Row:
        """Do a run, deal a blow in a training or another task, and keep a row of how it ended."""
        began, well = time.monotonic(), None
        self.running.trigger(run_id, MID_RUN)
        if blow is not None:
            now = (
                (lambda: self._runs(run_id, in_task)) if in_task else (lambda: self._trains(run_id))
            )
            wait(now, 120, lambda: self.running.said(run_id))
            blow()
            well = self.wait_until_well()
        self.wait_for_end(run_id)
        files = self.bundle_of(run_id)
        if not self.bundles:
            self.bundles.update(files)
        tries = (task.try_number for task in self.running.airflow.tasks(run_id))
        row = Row(
            what=what,
            well_seconds=well,
            run_seconds=time.monotonic() - began,
            retries=sum(max(0, n - 1) for n in tries),
            same_bundles=files == self.bundles,
        )
        self.rows.append(row)
        return row

    def wait_until_well(self) -> float:
        """Wait until every service is well again; return how long it took."""
        time.sleep(1)
        began = time.monotonic() - 1
        self.running.deployment.wait_until_healthy(WELL_SECONDS)
        return time.monotonic() - began

    def wait_for_end(self, run_id: str) -> None:
        """Wait until a run has succeeded, though Airflow may not answer for a while."""
        states = [""]

        def ended() -> bool:
            states.append(patiently(lambda: self.running.airflow.run_state(run_id), ""))
            return states[-1] in ENDED

        wait(ended, RUN_SECONDS, lambda: self.running.said(run_id))
        assert states[-1] == "success", self.running.said(run_id)

    def bundle_of(self, run_id: str) -> dict[str, str]:
        """Return the sha256 of every file of the bundles of a run, which is published by now."""
        client = self.running.s3("ui").client()
        answer = client.get_object(Bucket=BUCKET, Key=f"runs/{run_id}/manifest.json")
        self.manifests[run_id] = f"{answer['ETag']} of {answer['LastModified']}"
        files = json.loads(answer["Body"].read())["files"]
        return {file["name"]: file["sha256"] for file in files if "/bundle/" in file["name"]}

    def _trains(self, run_id: str) -> bool:
        tick = self.running.airflow.progress(run_id, "train_linear")
        return tick is not None and tick.epoch is not None and tick.epoch.epoch >= HURT_AT

    def _runs(self, run_id: str, task_id: str) -> bool:
        states = {task.task_id: task.state for task in self.running.airflow.tasks(run_id)}
        return states.get(task_id) == "running"


def patiently(ask: Callable[[], Any], otherwise: Any) -> Any:
    """Return what Airflow says, or `otherwise` while it cannot say anything."""
    try:
        return ask()
    except (httpx.TransportError, RequestRefused):
        return otherwise


@pytest.fixture(scope="module")
def chaos(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Chaos]:
    measured: list[Row] = []
    folder = tmp_path_factory.mktemp("deployment")
    with (
        rows.TABLE.kept(measured, request),
        deployed.running(folder, MF_CHECKPOINT_SECONDS="1") as running,
    ):
        running.deployment.add("gpu-worker")
        running.deployment.wait_until_healthy()
        yield Chaos(running, rows=measured)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_runs_in_a_row_give_the_same_bundles(chaos: Chaos, n: int) -> None:
    row = chaos.run(f"undisturbed-{n}", f"nothing, run {n} of 3")
    assert row.same_bundles
    assert row.retries == 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_run_survives_the_death_of(chaos: Chaos, name: str) -> None:
    def blow() -> None:
        every = [each for each in chaos.running.deployment.containers if each.of == name]
        busy = [each for each in every if trainings(each)]
        (busy or every)[0].kill()

    in_task = "report" if name == "worker" else None
    row = chaos.run(f"without-{name}", f"{name}{IN_REPORT if in_task else ''}", blow, in_task)
    assert row.same_bundles
    if name in ("worker", "gpu-worker"):
        assert row.retries == 1


def test_a_run_survives_a_power_failure(chaos: Chaos) -> None:
    def blow() -> None:
        for each in chaos.running.deployment.containers:
            if each.running:
                each.kill()

    row = chaos.run("power-failure", "all of them, in the same moment", blow)
    assert row.same_bundles
    assert row.run_seconds < POWER_SECONDS


def test_a_run_survives_that_all_are_stopped_and_started_again(chaos: Chaos) -> None:
    deployment = chaos.running.deployment

    def blow() -> None:
        deployment.stop()
        deployment.start_again()

    row = chaos.run("restart", "nothing, but all are stopped, and started again", blow)
    assert row.same_bundles


def test_many_runs_that_are_queued_at_once_all_end(chaos: Chaos) -> None:
    names = [f"many-{n}" for n in range(MANY)]
    began = time.monotonic()
    for name in names:
        chaos.running.trigger(name, TINY)
    for name in names:
        chaos.wait_for_end(name)
    bundles = [chaos.bundle_of(name) for name in names]
    assert all(bundle == bundles[0] for bundle in bundles)
    tries = (t.try_number for name in names for t in chaos.running.airflow.tasks(name))
    chaos.rows.append(
        Row(
            what=f"nothing, but {MANY} small runs are queued at once",
            well_seconds=None,
            run_seconds=time.monotonic() - began,
            retries=sum(max(0, n - 1) for n in tries),
            same_bundles=True,
        )
    )


def test_every_run_was_published_once_and_none_was_changed(chaos: Chaos) -> None:
    client = chaos.running.s3("ui").client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="runs/")
    found = {
        entry["Key"].split("/")[1]: f"{entry['ETag']} of {entry['LastModified']}"
        for page in pages
        for entry in page["Contents"]
        if entry["Key"].endswith("/manifest.json")
    }
    assert found == chaos.manifests


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
