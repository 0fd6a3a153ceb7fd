"""The secrets of docker-compose.yaml: who gets which, and that nothing else shows them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import kombu.utils.url
import pytest
from sqlalchemy.engine import make_url

from tests.docker.compose import ROOT

WORKERS = ("worker", "gpu-worker")
DATABASE = {"postgres_password", "fernet_key"}
SECRETS = {
    "airflow-init": DATABASE | {"admin_password", "jwt_secret", "session_key"},
    "alertmanager": set(),
    "api-server": DATABASE | {"jwt_secret", "s3_ui", "session_key"},
    "dag-processor": DATABASE,
    "gpu-worker": {"redis_password", "s3_worker", "session_key"},
    "grafana": {"grafana_key", "grafana_password"},
    "postgres": {"postgres_password"},
    "prometheus": set(),
    "redis": {"redis_password"},
    "scheduler": DATABASE | {"jwt_secret", "redis_password"},
    "seaweedfs": {"s3_admin", "s3_ui", "s3_worker"},
    "statsd-exporter": set(),
    "store-init": {"s3_admin"},
    "triggerer": DATABASE,
    "worker": {"redis_password", "s3_worker", "session_key"},
}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_service_gets_the_secrets_that_it_needs_and_no_others(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    given = {each["target"].removeprefix("/run/secrets/") for each in service.get("secrets", [])}
    assert given == SECRETS[name]
    shown = str([service.get(part) for part in ("environment", "command", "healthcheck")])
    named = set(re.findall(r"/run/secrets/(\w+)", shown))
    assert named == SECRETS[name] or "'/run/secrets'" in shown  # all of them, by their folder


def test_no_secret_is_shown_to_who_asks_the_engine(env: Path, whole: dict[str, Any]) -> None:
    drawn = [
        word
        for path in (env.parent / ".secrets").iterdir()
        for word in path.read_text().split()
        if len(word) >= 32
    ]
    assert len(drawn) == len(whole["secrets"]) + 3  # an S3 identity has two
    assert not [word for word in drawn if word in str(whole)]


@pytest.mark.parametrize("password", ["pa-ss_", "p@ss/w#rd", "pct%41", "hash #x", "é\"'$x\\"])
@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize(
    ("service", "variable", "where"),
    [
        ("scheduler", "DATABASE__SQL_ALCHEMY_CONN", "postgres:5432/airflow"),
        ("worker", "CELERY__BROKER_URL", "redis:6379/0"),
        ("worker", "CELERY__RESULT_BACKEND", "redis:6379/1"),
    ],
)
def test_airflow_finds_an_address_with_whatever_password_there_is(
    services: dict[str, Any],
    tmp_path: Path,
    service: str,
    variable: str,
    where: str,
    password: str,
    ending: str,
) -> None:
    command = services[service]["environment"][f"AIRFLOW__{variable}_CMD"]
    for name in ("postgres_password", "redis_password"):
        (tmp_path / name).write_text(f"{password}{ending}")
    here = command.replace("/run/secrets", str(tmp_path)).replace("/opt/airflow", str(ROOT))
    url = subprocess.run(shlex.split(here), capture_output=True, text=True, check=True).stdout
    found = make_url(url)
    assert (found.password, f"{found.host}:{found.port}/{found.database}") == (password, where)
    if "redis" in where:
        assert kombu.utils.url.parse_url(url)["password"] == password


def test_workers_know_neither_the_database_nor_the_admins_keys(services: dict[str, Any]) -> None:
    for name in WORKERS:
        shown = str(services[name])
        assert not re.search("postgres|fernet|jwt|s3_admin|admin_password", shown)
