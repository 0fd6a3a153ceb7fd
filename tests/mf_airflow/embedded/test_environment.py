from __future__ import annotations

import re
from pathlib import Path

from mf_airflow.embedded import environment


def test_secrets_are_drawn_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    first = environment.own_secrets(tmp_path)
    assert environment.own_secrets(tmp_path) == first
    assert environment.own_secrets(tmp_path / "another") != first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert len(first.jwt_secret) >= 64


def test_settings_of_another_airflow_or_store_are_not_inherited() -> None:
    given = {
        "AIRFLOW_HOME": "x",
        "AIRFLOW__CORE__EXECUTOR": "x",
        "AWS_PROFILE": "x",
        "AWS_SESSION_TOKEN": "x",
        "MF_PROGRESS": "x",
        "MF_STORE": "x",
        "MF_MOVIELENS_URL": "kept",
        "PATH": "kept",
    }
    inherited = environment.inherited(given)
    assert "x" not in inherited.values()
    assert {name for name, value in inherited.items() if value == "kept"} == {
        "MF_MOVIELENS_URL",
        "PATH",
    }


def test_loopback_never_goes_over_a_proxy() -> None:
    inherited = environment.inherited({"no_proxy": "intranet", "HTTPS_PROXY": "http://proxy"})
    assert inherited["no_proxy"] == "127.0.0.1,localhost,intranet"
    assert inherited["NO_PROXY"] == "127.0.0.1,localhost"
    assert inherited["HTTPS_PROXY"] == "http://proxy"


def test_airflow_listens_on_loopback_and_sends_nothing_home(tmp_path: Path) -> None:
    own = environment.own_secrets(tmp_path)
    variables = environment.airflow_environment(
        tmp_path, own, database="postgresql://", port=8081, scheduled=False
    )
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert variables["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:8081"
    assert variables["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"
    assert variables["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "False"


def test_the_settings_that_all_deployments_share_are_airflows_and_no_secrets() -> None:
    shared = environment.shared()
    assert shared["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert shared.pop("PYTHONWARNINGS") == "ignore:GitWildMatchPattern"
    assert all(name.startswith("AIRFLOW__") and value for name, value in shared.items())
    assert [name for name in shared if re.search("SECRET|KEY|PASSWORD|CONN|URL", name)] == []


def test_airflow_knows_every_setting_that_all_deployments_share() -> None:
    from airflow.configuration import conf

    known = {
        f"AIRFLOW__{section}__{option}".upper()
        for section, described in conf.configuration_description.items()
        for option in described["options"]
    }
    unread = {"AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"}
    undescribed = {"AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES"}  # but the scheduler reads it
    ours = {"PYTHONWARNINGS"}  # of Python
    assert set(environment.shared()) - known == unread | undescribed | ours
