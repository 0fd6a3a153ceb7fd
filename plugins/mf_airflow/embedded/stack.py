"""Start the embedded stack as one, and stop it as one: object store, database, Airflow.

Everything listens on loopback only, and keeps its state below one folder. Nothing of it outlives
the process that entered the context.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mf_airflow.embedded import environment, servers
from mf_airflow.embedded.environment import USER, Secrets
from mf_airflow.embedded.process import Process, free_ports
from mf_airflow.embedded.rest import Airflow

BUCKET = "movielens"
UI_PORT = 8080
TRAININGS_AT_ONCE = 3
AIRFLOW_GRACE = 8.0


@dataclass(frozen=True)
class Stack:
    """Hold a running stack."""

    airflow: Airflow
    secrets: Secrets
    environment: dict[str, str]
    processes: tuple[Process, ...]

    def check(self) -> None:
        """Raise `ServerFailed` when one of its processes has ended."""
        for process in self.processes:
            process.check()


@contextlib.contextmanager
def running(folder: Path, *, port: int, scheduled: bool) -> Iterator[Stack]:
    """Run the stack with its state in `folder`; `scheduled` lets the DAG's own schedule act."""
    with contextlib.ExitStack() as stopped_at_exit:
        home = folder / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        own = environment.own_secrets(folder)
        store, wait_for_store = stopped_at_exit.enter_context(
            servers.seaweedfs_starting(folder / "seaweedfs", bucket=BUCKET)
        )
        database = stopped_at_exit.enter_context(servers.postgres(folder / "postgres"))
        variables = (
            environment.inherited(os.environ)
            | {"MF_CACHE": str(folder / "cache")}
            | store.environment()
            | environment.airflow_environment(
                home, own, database=database.url, port=port, scheduled=scheduled
            )
        )
        airflow = stopped_at_exit.enter_context(Airflow(f"http://127.0.0.1:{port}"))
        tables = folder / "postgres" / "data" / "airflow-version"
        processes = stopped_at_exit.enter_context(
            _airflow(home, tables, variables, airflow, scheduled)
        )
        wait_for_store()
        airflow.log_in(USER, own.password)
        airflow.set_pool("gpu", max(TRAININGS_AT_ONCE, os.cpu_count() or 1), "trainings at once")
        yield Stack(airflow, own, variables, processes)


@contextlib.contextmanager
def _airflow(
    home: Path, tables: Path, variables: dict[str, str], airflow: Airflow, scheduled: bool
) -> Iterator[tuple[Process, ...]]:
    """Run Airflow's processes on a database that is up to date, with the DAG in it.

    Each takes seconds to import Airflow, so they start side by side. The file `tables` says which
    version of Airflow made the tables; it lies with them, so that it goes where they go.
    """
    noted = str(tables)
    with contextlib.ExitStack() as stopped_at_exit:
        start = partial(_started, stopped_at_exit, home, variables)
        component = partial(start, module="mf_airflow.embedded.component")
        preparation = start("preparation", noted, module="mf_airflow.embedded.prepare")
        server = component("API server", noted, "api-server")
        others = [component("scheduler", noted, "scheduler", "--skip-serve-logs")]
        if scheduled:
            others.append(component("DAG processor", noted, "dag-processor"))
        preparation.wait_to_end()
        server.wait_for(airflow.answers, seconds=120)
        yield (server, *others)
        for process in (*others, server):
            process.kill()  # the run has ended: nothing that they do now is worth waiting for


def _started(
    stopped_at_exit: contextlib.ExitStack,
    home: Path,
    variables: dict[str, str],
    name: str,
    *arguments: str,
    module: str,
) -> Process:
    return stopped_at_exit.enter_context(
        Process(
            f"Airflow's {name}",
            [sys.executable, "-m", module, *arguments],
            home / f"{name.replace(' ', '-')}.log",
            environment=variables,
            grace=AIRFLOW_GRACE,
        )
    )


def ui_port() -> int:
    """Return the port that people expect Airflow at, or another one where it is taken."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", UI_PORT))
            return UI_PORT
    return free_ports(1)[0]
