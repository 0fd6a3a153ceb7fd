"""Every metric, from Airflow's own client through the mappings into a real Prometheus, and every query of it.

No package has statsd-exporter: `exporter.py` stands in for it, with the same mappings. Everything else is real:
Airflow's client with the settings that are shipped, Prometheus, the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry

from tests.monitoring import exporter, prometheus, sender
from tests.monitoring.exporter import Exporter
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.sender import COUNTED, GAUGED, TIMED
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


@dataclass(frozen=True)
class Monitored:
    """Where everything was sent to."""

    exporter: Exporter
    prometheus: Prometheus


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """Give a Prometheus in which every metric has arrived."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        exporter.running(DOCKER / "statsd" / "mappings.yaml") as stand_in,
        sender.sending_to(stand_in.udp_port),
        prometheus.running(folder, f"127.0.0.1:{stand_in.http_port}") as server,
    ):
        sender.send_airflows()
        sender.send_own(tmp_path_factory.mktemp("run"))
        wait(
            lambda: server.query(
                "mf:published_rmse and count_over_time(mf:published_rmse[1h]) > 4"
            ),
            20,
            lambda: [server.targets(), stand_in.exporter.text()],
        )
        yield Monitored(stand_in.exporter, server)


def fill_in(expression: str) -> str:
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
    expression = fill_in(QUERIES[title])
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
        "TaskLost": "train_mlp of movielens_mf was lost: its worker sent no more heartbeats",
        "RunLate": "A run of movielens_mf has missed its deadline",
        "RunFailed": "A run of movielens_mf failed",
        "DataChecksFailed": "The data fail 2 checks, so no network was trained",
        "StoreFailing": "The step validate failed because of the object store",
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
