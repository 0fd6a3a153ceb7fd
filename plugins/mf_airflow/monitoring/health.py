"""Check whether a part of a deployment is healthy; exit code 0 is yes. The health checks of docker-compose.

python -m mf_airflow.monitoring.health answers URL            a web server answers
python -m mf_airflow.monitoring.health component URL NAME     the triggerer or dag_processor has sent a heartbeat lately
python -m mf_airflow.monitoring.health worker NAME            the Celery worker NAME of this host answers

It runs every few seconds, and so imports nothing of Airflow, which would take 2 s.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPResponse
from typing import cast

SECONDS = 10.0
BROKER_URL = "AIRFLOW__CELERY__BROKER_URL"


def main(arguments: list[str]) -> int:
    """Run the check that `arguments` name; return 0 if all is well, else print what is wrong."""
    checks: dict[str, Callable[..., str]]
    checks = {"answers": answers, "component": component, "worker": worker}
    try:
        problem = checks[arguments[0]](*arguments[1:])
    except (OSError, subprocess.CalledProcessError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


def answers(url: str) -> str:
    """Return what is wrong with the web server at `url`, nothing if it answers with success."""
    with _open(url):
        return ""


def component(url: str, name: str) -> str:
    """Return what is wrong with a component as the API server at `url` reports it."""
    with _open(f"{url}/api/v2/monitor/health") as answer:
        status = json.load(answer)[name]["status"]
    return "" if status == "healthy" else f"{name} is {status}"


def worker(name: str) -> str:
    """Return what is wrong with a Celery worker of this host."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    node = f"{name}@{socket.gethostname()}"
    app = Celery(broker=broker_url(os.environ), set_as_current=False)
    try:
        with app.connection_for_write(connect_timeout=SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            answered = app.control.ping([node], timeout=SECONDS / 2, connection=connection, limit=1)
    except OperationalError as error:
        return f"the broker does not answer: {error}"
    return "" if answered else f"{node} does not answer"


def broker_url(given: Mapping[str, str]) -> str:
    """Return the broker's address as Airflow finds it: in a variable, or from a command."""
    if BROKER_URL in given:
        return given[BROKER_URL]
    command = shlex.split(given[f"{BROKER_URL}_CMD"])
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _open(url: str) -> HTTPResponse:
    # Nothing here goes over a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return cast("HTTPResponse", opener.open(url, timeout=SECONDS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
