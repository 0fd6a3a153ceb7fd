"""The environment of the embedded stack's Airflow: loopback only, no telemetry, its own secrets.

What it shares with every other deployment is read from docker/airflow.env.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mf_airflow.embedded.process import write_secret

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT / "docker" / "airflow.env"
USER = "admin"
FOREIGN = ("AIRFLOW_", "AWS_", "MF_PROGRESS", "MF_S3_ENDPOINT", "MF_STORE")
NO_PROXY = "127.0.0.1,localhost"


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody else may know; drawn once, and kept in a file of mode 0600."""

    password: str
    jwt_secret: str
    session_key: str
    fernet_key: str


def own_secrets(folder: Path) -> Secrets:
    """Return the secrets of the stack in `folder`, drawn if there are none."""
    path = folder / "secrets.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except (FileNotFoundError, msgspec.DecodeError):
        drawn = Secrets(
            password=secrets.token_urlsafe(12),
            jwt_secret=secrets.token_urlsafe(64),
            session_key=secrets.token_urlsafe(32),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_secret(path, msgspec.json.encode(drawn).decode())
        return drawn


def airflow_environment(
    home: Path, own: Secrets, *, database: str, port: int, scheduled: bool
) -> dict[str, str]:
    """Return the variables that Airflow is configured by; `scheduled` lets it start runs itself."""
    passwords = home / "passwords.json"
    write_secret(passwords, json.dumps({USER: own.password}))
    address = f"http://127.0.0.1:{port}"
    configuration = {
        "API__BASE_URL": address,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__SECRET_KEY": own.session_key,
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": own.jwt_secret,
        "CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__FERNET_KEY": own.fernet_key,
        "CORE__PARALLELISM": "8",
        "CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "SCHEDULER__USE_JOB_SCHEDULE": str(scheduled),
    }
    own_configuration = {f"AIRFLOW__{name}": value for name, value in configuration.items()}
    return {"AIRFLOW_HOME": str(home)} | shared() | own_configuration | _widen_reach()


def _widen_reach() -> dict[str, str]:
    """Let data sets be any file and any host: who uses this stack is who started it."""
    widest = {"MF_DATA_ROOTS": "/", "MF_DATA_HOSTS": "*"}
    return {name: os.environ.get(name) or value for name, value in widest.items()}


def shared() -> dict[str, str]:
    """Return the variables that all deployments have in common."""
    lines = (line.strip() for line in SHARED.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def list_foreign(given: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that are meant for another Airflow or store."""
    return sorted(name for name in given if name.startswith(FOREIGN))


def inherited(given: Mapping[str, str]) -> dict[str, str]:
    """Return an environment free of settings for another Airflow or store; it finds this checkout.

    Nothing that goes to loopback takes the way over a proxy.
    """
    foreign = list_foreign(given)
    kept = {name: value for name, value in given.items() if name not in foreign}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, [NO_PROXY, given.get(name)]))
    places = [str(ROOT), str(ROOT / "plugins"), given.get("PYTHONPATH")]
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    return kept
