"""Send every metric as Airflow, its tasks and this project send them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from mf_airflow.monitoring import gauges
from mf_airflow.monitoring.ticks import Monitor
from mftasks.errors import InvalidDataset, StoreUnavailable
from mftasks.progress import Tick
from mftasks.records import DagRun, EpochMetrics, Evaluation, GpuUse, Manifest, Profile
from mftasks.store import keys
from tests import finished_run
from tests.finished_run import NETWORKS, RUN
from tests.mf_airflow.state_store import StateStore

DOCKER = Path(__file__).parents[2] / "docker"

# Metrics of Airflow 3.3.2 that the rules and the dashboard need, with the tags that its source gives them.
TASK = {"dag_id": "movielens_mf", "task_id": "train_mlp"}
GPU_TASK = {**TASK, "queue": "gpu"}
RUN_TAGS = {"dag_id": "movielens_mf", "run_type": "scheduled"}
COUNTED: dict[str, dict[str, str]] = {
    "scheduler_heartbeat": {},
    "dag_processor_heartbeat": {},
    "triggerer_heartbeat": {},
    "task_instances_without_heartbeats_killed": TASK,
    "deadline_alerts.deadline_missed": {
        "dag_id": "movielens_mf",
        "dagrun_id": "scheduled__2026-11-29T00:00:00+00:00",
    },
}
GAUGED: dict[str, dict[str, str]] = {
    "scheduler.dagruns.running": {},
    "dag_processing.import_errors": {},
    "ti.queued": GPU_TASK,
    "ti.running": GPU_TASK,
    "ti.scheduled": GPU_TASK,
    "pool.open_slots": {"pool_name": "gpu"},
    "pool.running_slots": {"pool_name": "gpu"},
    "pool.queued_slots": {"pool_name": "gpu"},
}
TIMED: dict[str, dict[str, str]] = {
    "dagrun.duration.success": RUN_TAGS,
    "dagrun.duration.failed": RUN_TAGS,
}


@contextlib.contextmanager
def sending_to(port: int) -> Iterator[None]:
    """Let Airflow send its metrics with the settings that are shipped, but to this port."""
    lines = (DOCKER / "statsd" / "airflow.env").read_text().splitlines()
    shipped = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    here = {
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
    }
    assert shipped.keys() >= here.keys()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (shipped | here).items():
            patch.setenv(name, value)
        backend = stats_utils.get_stats_factory()()
        stats.initialize(
            factory=lambda: backend,
            export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
        )
        try:
            yield
        finally:
            stats.initialize(factory=NoStatsLogger, export_legacy_names=True)
            backend.statsd.close()


def send_airflows() -> None:
    """Send each metric of Airflow's that rules and dashboard need."""
    for name, tags in COUNTED.items():
        stats.incr(name, tags=tags)
    for name, tags in GAUGED.items():
        stats.gauge(name, 1.0, tags=tags)
    for name, tags in TIMED.items():
        stats.timing(name, 90_000, tags=tags)
    stats.timing("scheduler.scheduler_loop_duration", 1)  # is dropped


def send_own(folder: Path) -> None:
    """Send each metric of this project, by the code that sends it in a run, from the records of a run."""
    run = finished_run.published_run(folder)
    gauges.emit(run.read(keys.run(RUN, "profile.json"), Profile))
    for network in NETWORKS:
        gauges.emit(run.read(keys.network(RUN, network, "evaluation.json"), Evaluation), "films")
        monitor = Monitor({"task_state_store": StateStore()}, network)
        monitor.take(_make_tick(network))
        monitor.report_wait("device", "1 of 1 devices")
    scheduled = DagRun(dag_id="movielens_mf", run_id="scheduled__2026-11-29T00:00:00+00:00")
    manifest = run.read(keys.run(RUN, "manifest.json"), Manifest)
    gauges.emit(msgspec.structs.replace(manifest, dag_run=scheduled))
    for error in (StoreUnavailable("no answer"), InvalidDataset("a and b", n_rules=2)):
        with contextlib.suppress(type(error)), gauges.watching("validate"):
            raise error


def _make_tick(network: str) -> str:
    epoch = EpochMetrics(
        epoch=3,
        train_rmse=0.9,
        valid_rmse=0.95,
        learning_rate=0.01,
        seconds=6.0,
        ratings_per_second=5e4,
    )
    gpu = GpuUse(
        device="NVIDIA A100-SXM4-40GB (GPU-3f1c2a)",
        memory_used_bytes=1,
        memory_total_bytes=4,
        utilization=0.5,
    )
    sent = Tick(
        work=f"train {network}",
        done=3,
        total=9,
        unit="epochs",
        epoch=epoch,
        seconds_left=12.0,
        peak_rss_bytes=200_000_000,
        gpus=(gpu,),
    )
    return msgspec.json.encode(sent).decode()
