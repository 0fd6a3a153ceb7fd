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

from mf_airflow.embedded import environment, results, stack, watch
from mf_airflow.embedded.process import free_ports, stop_children
from mf_airflow.embedded.rest import DAG, wait_until
from mftasks import terminal
from mftasks.errors import InvalidPlan, MfError, quote
from mftasks.params import pairs
from mftasks.steps.plan import resolve

LOCAL = Path(".local")
OUTPUT = Path("output")
STOP_SECONDS = 60.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

LocalOption = Annotated[Path, typer.Option(help="Where the stack keeps its state.")]
OutputOption = Annotated[Path, typer.Option(help="Where copies of published runs go.")]

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
    except OSError as error:  # a full disk, a folder of somebody else
        _fail(str(error), 1)
    except Stopped as stopped:
        sys.exit(128 + stopped.number)


class Stopped(BaseException):
    """The signal that ended the command, on its way through every clean-up to the exit code."""

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
    given = _parse_conf(conf)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    resolve(run_id, given)  # what cannot be planned is refused before anything starts
    with _prepare(local), stack.running(local, port=free_ports(1)[0], scheduled=False) as running:
        state = _run_once(running, run_id, given, output)
    if state != "success":
        _fail(f"run {run_id} failed", 1)


def _run_once(running: stack.Stack, run_id: str, given: dict[str, Any], output: Path) -> str:
    """Run the DAG; hand out its results, or show why it failed; return how it ended."""
    running.airflow.end_unfinished_runs()
    running.airflow.trigger(run_id, given)
    _print(f"run {run_id} of DAG {DAG}")
    state = watch.follow(running, run_id, console)
    if state == "success":
        results.hand_out(running, running.airflow.store_run_id(run_id), output, console)
    else:
        results.explain(running.airflow, run_id, console)
    return state


@app.command()
def up(local: LocalOption = LOCAL, output: OutputOption = OUTPUT) -> None:
    """Start the stack with Airflow's UI; stay until stopped, and copy what runs publish."""
    with _prepare(local):
        port, expected = stack.choose_ui_port(local / "ui-port")
        why = "" if port == expected else f" (port {expected} is taken)"
        with stack.running(local, port=port, scheduled=True) as running:
            _print(f"Airflow: {running.airflow.address}{why}")
            _print(f"login:   {environment.USER} / {running.secrets.password}")
            _print(f"what runs publish is copied to {output}")
            _print("stop it with Ctrl-C here, or with `make down`")
            new_runs = results.NewRuns(running)
            while True:
                running.check()
                new_runs.hand_out(output, console)
                time.sleep(1)


@app.command()
def down(local: LocalOption = LOCAL) -> None:
    """Stop the stack that runs in this checkout."""
    pid = _find_holder(local)
    if pid is None:
        _print("no stack is running here")
        return
    os.kill(pid, signal.SIGTERM)
    if not wait_until(lambda: _find_holder(local) is None, STOP_SECONDS):
        _fail(f"process {pid} has not stopped after {STOP_SECONDS:.0f} s", 1)
    _print("stopped")


def _parse_conf(conf: str) -> dict[str, Any]:
    try:
        given = json.loads(conf or "{}")
    except ValueError as error:
        raise InvalidPlan(
            f'CONF {quote(conf)} is not JSON ({error}); write CONF=\'{{"preset": "notebook"}}\''
        ) from error
    if not isinstance(given, dict):
        raise InvalidPlan(f"CONF {quote(conf)} must be an object, such as '{{\"epochs\": 5}}'")
    return pairs.complete(given)


@contextlib.contextmanager
def _prepare(local: Path) -> Iterator[None]:
    """Hold the lock of the checkout's stack; report what is not used, and in the end what stopped it."""
    with _hold_lock(local):
        _print(f"starting the stack; its state and logs are in {local}")
        _drop_foreign()
        try:
            yield
        except Stopped:
            stop_children()
            _print("stopped; nothing is left running")
            raise


@contextlib.contextmanager
def _hold_lock(local: Path) -> Iterator[None]:
    """Hold the lock of the checkout's stack, whose file names the holder, in a folder for its owner only."""
    local.mkdir(parents=True, exist_ok=True)
    local.chmod(0o700)
    with (local / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _fail(
                f"a stack is running in this checkout already (process {_find_holder(local)}): "
                "wait for it to end, or stop it with `make down`",
                1,
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _find_holder(local: Path) -> int | None:
    """Return the process that holds the lock, if one does."""
    with contextlib.suppress(FileNotFoundError), (local / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def _drop_foreign() -> None:
    """Remove the settings for another Airflow or store from the environment, and name them."""
    names = environment.list_foreign(os.environ)
    for name in names:
        del os.environ[name]
    if names:
        _print(f"not used here, as this stack has its own Airflow and store: {', '.join(names)}")


def _print(line: str) -> None:
    console.print(terminal.plain(line), soft_wrap=True)


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
