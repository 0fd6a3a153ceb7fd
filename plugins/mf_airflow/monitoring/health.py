"""Say whether a part of a deployment is well; exit code 0 is yes. What docker-compose asks.

python -m mf_airflow.monitoring.health answers URL            a web server answers
python -m mf_airflow.monitoring.health component URL NAME     Airflow has heard of triggerer or dag_processor lately
python -m mf_airflow.monitoring.health worker NAME            the Celery worker NAME of this host answers

It is asked every few seconds, and so imports nothing of Airflow, which would take it 2 s.
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
    """Ask what `arguments` say; return 0 where all is well, and say what is not."""
    questions: dict[str, Callable[..., str]]
    questions = {"answers": answers, "component": component, "worker": worker}
    try:
        said = questions[arguments[0]](*arguments[1:])
    except (OSError, subprocess.CalledProcessError) as error:
        said = f"{type(error).__name__}: {error}"
    if said:
        sys.stderr.write(f"{said}\n")
    return 1 if said else 0


def answers(url: str) -> str:
    """Return what is wrong with the web server at `url`, nothing where it answers with success."""
    with _opened(url):
        return ""


def component(url: str, name: str) -> str:
    """Return what is wrong with a component by the word of the API server at `url`."""
    with _opened(f"{url}/api/v2/monitor/health") as answer:
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


def _opened(url: str) -> HTTPResponse:
    # Nothing here goes over a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return cast("HTTPResponse", opener.open(url, timeout=SECONDS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
