"""Run the whole pipeline on one machine, without Docker: what `make run`, `up` and `down` call.

python -m mf_airflow.embedded run --conf '{"preset": "notebook"}'
python -m mf_airflow.embedded up
python -m mf_airflow.embedded down
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mf_airflow.embedded import results, stack, watch
from mf_airflow.embedded.environment import USER
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import wait_until
from mftasks import settings, terminal
from mftasks.errors import InvalidPlan, MfError
from mftasks.store.workspace import Workspace

LOCAL = Path(".local")
OUTPUT = Path("output")
STOP_SECONDS = 60.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

LocalOption = Annotated[Path, typer.Option(help="Where the stack keeps its state.")]
OutputOption = Annotated[Path, typer.Option(help="Where a copy of what was published goes.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = terminal.console()


def main() -> None:
    """Run the command line; whatever stops it, everything that it started is stopped first."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and `&` leave it
            signal.signal(number, _stop)
    try:
        app()
    except MfError as error:
        _fail(str(error), error.exit_code)


class Stopped(BaseException):
    """Carry the signal that ended the command through every clean-up, to its exit code."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@app.command()
def run(
    conf: Annotated[str, typer.Option(help="Parameters of the run, as JSON.")] = "",
    local: LocalOption = LOCAL,
    output: OutputOption = OUTPUT,
) -> None:
    """Start the stack, run the DAG once, show and copy what it published, and stop everything."""
    given = _parameters(conf)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with _alone(local), _said_when_stopped():
        console.print(f"starting the stack; its state and logs are in {local}")
        with stack.running(local.absolute(), port=free_ports(1)[0], scheduled=False) as running:
            state = _once(running, run_id, given, output)
    if state != "success":
        _fail(f"run {run_id} failed", 1)


def _once(running: stack.Stack, run_id: str, given: dict[str, Any], output: Path) -> str:
    """Run the DAG; show its results, or why it failed; return how it ended."""
    running.airflow.end_unfinished_runs()
    running.airflow.trigger(run_id, given)
    console.print(f"run {run_id} of DAG movielens_mf")
    state = watch.follow(running, run_id, console)
    if state == "success":
        os.environ.update(running.environment)  # boto3 takes its credentials from there
        workspace = Workspace(settings.read())
        published = running.airflow.store_run_id(run_id)
        folder = results.copy_out(workspace, published, output)
        console.print(results.show(workspace, published))
        console.print(terminal.plain(f"files: {folder}"), soft_wrap=True)
    else:
        results.explain(running.airflow, run_id, console)
    return state


@app.command()
def up(local: LocalOption = LOCAL) -> None:
    """Start the stack with Airflow's UI, and stay until stopped."""
    with _alone(local), _said_when_stopped():
        console.print(f"starting the stack; its state and logs are in {local}")
        with stack.running(local.absolute(), port=stack.ui_port(), scheduled=True) as running:
            console.print(f"Airflow: {running.airflow.address}", soft_wrap=True)
            console.print(f"login:   {USER} / {running.secrets.password}", highlight=False)
            console.print("stop it with Ctrl-C here, or with `make down`")
            while True:
                running.check()
                time.sleep(1)


@app.command()
def down(local: LocalOption = LOCAL) -> None:
    """Stop the stack that runs in this checkout."""
    pid = _holder(local)
    if pid is None:
        console.print("no stack is running here")
        return
    os.kill(pid, signal.SIGTERM)
    if not wait_until(lambda: _holder(local) is None, STOP_SECONDS):
        _fail(f"process {pid} has not stopped after {STOP_SECONDS:.0f} s", 1)
    console.print("stopped")


def _parameters(conf: str) -> dict[str, Any]:
    try:
        given = json.loads(conf or "{}")
    except ValueError as error:
        raise InvalidPlan(
            f'CONF {conf!r} is not JSON ({error}); write CONF=\'{{"preset": "notebook"}}\''
        ) from error
    if not isinstance(given, dict):
        raise InvalidPlan(f"CONF {conf!r} must be an object, such as '{{\"epochs\": 5}}'")
    return given


@contextlib.contextmanager
def _alone(local: Path) -> Iterator[None]:
    """Hold the lock of this checkout's stack, whose file names the holder."""
    local.mkdir(parents=True, exist_ok=True)
    with (local / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _fail(
                f"a stack is running in this checkout already (process {_holder(local)}): "
                "wait for it to end, or stop it with `make down`",
                1,
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder(local: Path) -> int | None:
    """Return the process that holds the lock, if one does."""
    with contextlib.suppress(FileNotFoundError), (local / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


@contextlib.contextmanager
def _said_when_stopped() -> Iterator[None]:
    try:
        yield
    except Stopped as stopped:
        console.print("stopped; nothing is left running")
        raise typer.Exit(128 + stopped.number) from None


def _stop(number: int, _: object) -> NoReturn:
    """Unwind once; signals that come while cleaning up change nothing."""
    for other in STOPPING:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


def _fail(message: str, code: int) -> NoReturn:
    terminal.print_error(message)
    sys.exit(code)


if __name__ == "__main__":
    main()
