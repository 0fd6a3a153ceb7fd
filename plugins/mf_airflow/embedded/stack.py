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
from functools import cached_property, partial
from pathlib import Path

import httpx

from mf_airflow.embedded import environment, servers
from mf_airflow.embedded.environment import USER, Secrets
from mf_airflow.embedded.process import Process, free_ports
from mf_airflow.embedded.rest import Airflow, RequestRefused, wait_until
from mftasks import settings
from mftasks.errors import Unavailable
from mftasks.store.workspace import Workspace

BUCKET = "movielens"
UI_PORT = 8080
TRAININGS_AT_ONCE = 3
AIRFLOW_GRACE = 8.0


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    airflow: Airflow
    secrets: Secrets
    environment: dict[str, str]
    processes: tuple[Process, ...]

    @cached_property
    def workspace(self) -> Workspace:
        """The stack's store, seen from this process: boto3 takes its keys from the environment."""
        os.environ.update(self.environment)
        return Workspace(settings.read())

    def check(self) -> None:
        """Raise `ServerFailed` when one of its processes has ended."""
        for process in self.processes:
            process.check()

    def check_soon(self) -> None:
        """Do the same; processes that are about to end have a second for it."""
        wait_until(lambda: not all(process.running for process in self.processes), 1)
        self.check()


@contextlib.contextmanager
def running(folder: Path, *, port: int, scheduled: bool) -> Iterator[Stack]:
    """Run the stack with its state in `folder`; `scheduled` lets the DAG's own schedule act."""
    folder = folder.absolute()
    with contextlib.ExitStack() as stopped_at_exit:
        home = folder / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        own = environment.own_secrets(folder)
        store = stopped_at_exit.enter_context(
            servers.seaweedfs_starting(folder / "seaweedfs", bucket=BUCKET)
        )
        database = stopped_at_exit.enter_context(servers.postgres(folder / "postgres"))
        variables = (
            environment.inherited(os.environ)
            | {"MF_CACHE": os.environ.get("MF_CACHE") or str(folder / "cache")}
            | store.server.environment()
            | environment.airflow_environment(
                home, own, database=database.url, port=port, scheduled=scheduled
            )
        )
        airflow = stopped_at_exit.enter_context(Airflow(f"http://127.0.0.1:{port}"))
        tables = folder / "postgres" / "data" / "airflow-version"
        processes = stopped_at_exit.enter_context(
            _airflow(home, tables, variables, airflow, scheduled)
        )
        store.wait()
        airflow.log_in(USER, own.password)
        airflow.set_pool("gpu", max(TRAININGS_AT_ONCE, os.cpu_count() or 1), "trainings at once")
        stack = Stack(airflow, own, variables, (store.process, database.process, *processes))
        try:
            yield stack
        except (RequestRefused, Unavailable, httpx.TransportError):
            stack.check_soon()
            raise


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
        start = partial(_start, stopped_at_exit, home, variables)
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


def _start(
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


def choose_ui_port(noted: Path) -> tuple[int, int]:
    """Return the port for the UI, and the one that people expect: the last one, else 8080.

    Another one is chosen if that is taken. The file `noted` holds it until the next time.
    """
    expected = UI_PORT
    with contextlib.suppress(FileNotFoundError, ValueError):
        expected = int(noted.read_text())
    port = next(filter(_is_free, (expected, UI_PORT)), 0) or free_ports(1)[0]
    noted.write_text(str(port))
    return port, expected


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True
