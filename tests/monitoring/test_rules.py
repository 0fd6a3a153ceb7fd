"""The rules, as promtool sees them; Debian's package prometheus brings it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import programs

FOLDER = Path(__file__).parent
PROMETHEUS = FOLDER.parents[1] / "docker" / "prometheus"
SCENARIOS = sorted(FOLDER.glob("rules_over_*.yaml"))
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]


def promtool(*arguments: str | Path) -> str:
    asked = subprocess.run(
        [programs.path("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return asked.stdout


def test_the_configuration_and_its_rules_are_valid() -> None:
    assert f"{len(RULES)} rules found" in promtool(
        "check", "config", PROMETHEUS / "prometheus.yaml"
    )


@pytest.mark.parametrize("scenarios", SCENARIOS, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_is_quiet_otherwise(scenarios: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", scenarios)


def test_every_alert_has_a_scenario_in_which_it_fires_and_one_in_which_it_is_quiet() -> None:
    asked = [
        (re.findall(r'alertname=~?"([\w|]+)"', query["expr"])[0].split("|"), query["exp_samples"])
        for path in SCENARIOS
        for scenario in yaml.safe_load(path.read_text())["tests"]
        for query in scenario["promql_expr_test"]
        if query["expr"].startswith("ALERTS{")
    ]
    fired = {sample["labels"].split('"')[1] for _, samples in asked for sample in samples}
    quiet = {name for names, samples in asked for name in names if not samples}
    assert fired == quiet == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description"}
    assert len(alert["annotations"]["description"]) > 100
