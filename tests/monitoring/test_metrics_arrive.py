"""From Airflow's own client over the mappings into a real Prometheus, and to every query of ours.

statsd-exporter cannot be had here: `exporter.py` stands in for it, with the same mappings. All else is
real: Airflow's metrics with the settings that are shipped, the client, Prometheus, the rules.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry
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
from tests.monitoring import exporter, prometheus
from tests.monitoring.exporter import Exporter
from tests.monitoring.prometheus import Prometheus
from tests.waiting import wait

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "movielens.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for group in yaml.safe_load((DOCKER / "prometheus" / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
SELECTOR = re.compile(r"\b((?:mf_|mf:|airflow_|up\b|ALERTS\b)[\w:]*(?:\{[^}]*\})?)")

# What Airflow 3.3.2 sends of itself, as its source sends it, where the rules and the dashboard need it.
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


@dataclass(frozen=True)
class Monitored:
    """Hold what everything was sent to."""

    exporter: Exporter
    prometheus: Prometheus


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """Give a Prometheus in which every metric has arrived."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        exporter.running(DOCKER / "statsd" / "mappings.yaml") as stand_in,
        sending_to(stand_in.udp_port),
        prometheus.running(folder, f"127.0.0.1:{stand_in.http_port}") as server,
    ):
        send_airflows()
        send_ours(tmp_path_factory.mktemp("run"))
        wait(
            lambda: server.query(
                "mf:published_rmse and count_over_time(mf:published_rmse[1h]) > 4"
            ),
            20,
            lambda: [server.targets(), stand_in.exporter.text()],
        )
        yield Monitored(stand_in.exporter, server)


@contextlib.contextmanager
def sending_to(port: int) -> Iterator[None]:
    """Have Airflow send its metrics with the settings that are shipped, but to this port."""
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
    for name, tags in COUNTED.items():
        stats.incr(name, tags=tags)
    for name, tags in GAUGED.items():
        stats.gauge(name, 1.0, tags=tags)
    for name, tags in TIMED.items():
        stats.timing(name, 90_000, tags=tags)
    stats.timing("scheduler.scheduler_loop_duration", 1)  # of no use here: it is dropped


def send_ours(folder: Path) -> None:
    """Send each metric of ours, by what sends it in a run, of records that a run wrote."""
    run = finished_run.published_run(folder)
    gauges.emit(run.read(keys.run(RUN, "profile.json"), Profile))
    for network in NETWORKS:
        gauges.emit(run.read(keys.network(RUN, network, "evaluation.json"), Evaluation), "films")
        monitor = Monitor({"task_state_store": StateStore()}, network)
        monitor.take(tick(network))
        monitor.report_wait("device", "1 of 1 devices")
    scheduled = DagRun(dag_id="movielens_mf", run_id="scheduled__2026-11-29T00:00:00+00:00")
    manifest = run.read(keys.run(RUN, "manifest.json"), Manifest)
    gauges.emit(msgspec.structs.replace(manifest, dag_run=scheduled))
    for error in (StoreUnavailable("no answer"), InvalidDataset("a and b", n_rules=2)):
        with contextlib.suppress(type(error)), gauges.watching("validate"):
            raise error


def tick(network: str) -> str:
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
    told = Tick(
        work=f"train {network}",
        done=3,
        total=9,
        unit="epochs",
        epoch=epoch,
        seconds_left=12.0,
        peak_rss_bytes=200_000_000,
        gpus=(gpu,),
    )
    return msgspec.json.encode(told).decode()


def filled(expression: str) -> str:
    """Return a query of the dashboard as Grafana asks it."""
    return expression.replace("$dataset", "films").replace("$network", "mlp")


def test_every_line_that_airflow_sends_is_understood(monitored: Monitored) -> None:
    assert monitored.exporter.refused == []
    assert [target["lastError"] for target in monitored.prometheus.targets()] == [""]


def test_every_mapping_is_of_something_that_is_sent(monitored: Monitored) -> None:
    kept = [mapping for mapping in monitored.exporter.mappings if mapping.action == "map"]
    named = {f"{mapping.match} {mapping.match_metric_type}" for mapping in kept}
    assert monitored.exporter.used == named


def test_metrics_have_the_names_of_prometheus_and_tags_as_labels(monitored: Monitored) -> None:
    names = set(monitored.exporter.kinds)
    assert all(name.startswith(("mf_", "airflow_")) for name in names)
    counters = {name for name, kind in monitored.exporter.kinds.items() if kind == "counter"}
    assert counters == {name for name in names if name.endswith("_total")}
    [series] = monitored.prometheus.query('mf_train_valid_rmse{network="mlp"}')
    assert float(series["value"][1]) == 0.95
    [series] = monitored.prometheus.query('airflow_dag_run_seconds_sum{state="failed"}')
    assert float(series["value"][1]) == 90.0
    assert not monitored.prometheus.query('{__name__=~".*loop.*"}')


def test_no_label_holds_a_run_an_epoch_or_a_path(monitored: Monitored) -> None:
    labels = {label for _, labels in monitored.exporter.values for label, _ in labels}
    assert labels == {
        "component",
        "dag_id",
        "dataset",
        "device",
        "network",
        "pool_name",
        "queue",
        "reason",
        "run_type",
        "severity",
        "split",
        "state",
        "step",
        "task_id",
    }


@pytest.mark.parametrize("name", [*COUNTED, *GAUGED, *TIMED])
def test_airflows_metrics_are_called_as_in_its_source(name: str) -> None:
    known = MetricsRegistry().get(name)
    assert known is not None
    kind = "counter" if name in COUNTED else "gauge" if name in GAUGED else "timer"
    assert known["type"] == kind
    tags = (COUNTED | GAUGED | TIMED)[name]
    assert set(known["name_variables"]) <= set(tags)


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_of_the_dashboard_has_an_answer(title: str, monitored: Monitored) -> None:
    expression = filled(QUERIES[title])
    assert monitored.prometheus.query(expression), expression
    for selector in SELECTOR.findall(expression):
        assert monitored.prometheus.query(selector), selector


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_is_of_series_that_arrive(rule: dict[str, Any], monitored: Monitored) -> None:
    monitored.prometheus.query(rule["expr"])
    selectors = SELECTOR.findall(rule["expr"])
    assert selectors
    for selector in selectors:
        assert monitored.prometheus.query(selector), selector


def test_an_alert_that_fires_says_in_words_what_is_wrong(monitored: Monitored) -> None:
    def firing() -> dict[str, str]:
        alerts = monitored.prometheus.alerts()
        return {
            alert["labels"]["alertname"]: alert["annotations"]["summary"]
            for alert in alerts
            if alert["state"] == "firing"
        }

    wait(lambda: len(firing()) == 5, 20, firing)
    assert firing() == {
        "TaskLost": "train_mlp of movielens_mf was given up: its worker sent no more heartbeats",
        "RunLate": "A run of movielens_mf was not done in time",
        "RunFailed": "A run of movielens_mf failed",
        "DataChecksFailed": "The data break 2 rules, and are not trained on",
        "StoreFailing": "The step validate gave up on the object store",
    }


def test_what_was_published_is_found_by_its_time(monitored: Monitored) -> None:
    [published] = monitored.prometheus.query("mf:published_rmse")
    [sent] = monitored.prometheus.query("mf_publish_rmse")
    assert published["metric"] == {
        "__name__": "mf:published_rmse",
        "dataset": "films",
        "run_type": "scheduled",
        "split": sent["metric"]["split"],
    }
    assert published["value"][1] == sent["value"][1]
