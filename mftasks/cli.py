"""The command line: one subcommand a step, the whole run, predictions, and the store's upkeep.

python -m mftasks --help

This is the only module that reads arguments, prints, and turns errors into exit codes.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from mftasks import errors, progress, settings, threads
from mftasks.store.workspace import Workspace

if TYPE_CHECKING:
    from mftasks.published.run import Published
    from mftasks.records import Manifest, Record

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Retrain, evaluate and publish matrix-factorisation networks for rating prediction.",
)
out = Console()

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="s3://bucket/prefix or file:///path; else MF_STORE."),
]
RunOption = Annotated[str, typer.Option("--run-id", help="The run that the step belongs to.")]
NetworkOption = Annotated[str, typer.Option("--network", help="linear, mlp, resnet, …")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, as often as you like: epochs=5, overrides.mlp.epochs=3"),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", help="A published run: a folder, or a run id; else the latest."),
]
ChosenOption = Annotated[str | None, typer.Option("--network", help="Else the best one.")]

LATEST = Path("output/latest")


def main() -> None:
    """Run the command line; exits with the code that belongs to the error."""
    threads.bound()
    _log_to_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        app()
    except errors.MfError as error:
        _fail(f"{type(error).__name__}: {error}", error.exit_code)
    except _Stopped as stopped:
        _fail(f"Interrupted: {stopped}", errors.Interrupted.exit_code)


@app.command("run")
def run_all(store: StoreOption = None, given: SetOption = None, run_id: str | None = None) -> None:
    """Do the whole flow in this terminal: from the download to the published artifacts."""
    from mftasks import pipeline

    workspace = _workspace(store)
    name = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with progress.reporter(workspace.settings.progress) as on_tick:
        manifest = pipeline.run(workspace, name, parameters(given or []), on_tick=on_tick)
    _show_results(manifest)
    out.print(f"published: {workspace.store.uri}/runs/{name}", soft_wrap=True)


@app.command()
def plan(run_id: RunOption, store: StoreOption = None, given: SetOption = None) -> None:
    """Resolve and validate every parameter of a run."""
    from mftasks.steps.plan import plan as step

    out.print_json(_json(step(_workspace(store), run_id, parameters(given or []))))


def _add_step(name: str, about: str) -> None:
    """Add the subcommand of a step on a run."""

    @app.command(name, help=about)
    def do(run_id: RunOption, store: StoreOption = None) -> None:
        _do(name, store, run_id)


def _add_network_step(name: str, about: str) -> None:
    """Add the subcommand of a step on one network of a run."""

    @app.command(name, help=about)
    def do(run_id: RunOption, network: NetworkOption, store: StoreOption = None) -> None:
        _do(name, store, run_id, network)


_add_step("download", "Download and verify the data set.")
_add_step("validate", "Check the data, and profile them.")
_add_step("split", "Part the ratings into train, valid and test.")
_add_network_step("train", "Train one network and export it; resumes from its last checkpoint.")
_add_network_step("evaluate", "Evaluate one exported network on the test part.")
_add_step("report", "Draw the report and the comparison plot.")
_add_step("publish", "Publish the run: the manifest is put last.")


@app.command()
def predict(
    user: Annotated[str, typer.Option(help="The user's id.")],
    item: Annotated[str, typer.Option(help="The item's id.")],
    where: FromOption = None,
    network: ChosenOption = None,
    store: StoreOption = None,
) -> None:
    """Predict the rating that a user would give to an item."""
    run = _published(where, store)
    bundle = run.bundle(network)
    (rating,) = bundle.predict([user], [item])
    title = run.titles().get(item, f"item {item}")
    out.print(f"{rating:.2f}  {title}  [dim]({bundle.header.network}, {run.manifest.run_id})[/]")


@app.command()
def recommend(
    user: Annotated[str, typer.Option(help="The user's id.")],
    top: Annotated[int, typer.Option(min=1, help="How many items.")] = 10,
    where: FromOption = None,
    network: ChosenOption = None,
    store: StoreOption = None,
) -> None:
    """List the items, not yet rated, that a user would rate highest."""
    run = _published(where, store)
    bundle = run.bundle(network)
    titles = run.titles()
    table = Table("rating", "item", "title", title=f"user {user}, by {bundle.header.network}")
    for item, rating in bundle.recommend(user, top, exclude=run.rated_by(user)):
        table.add_row(f"{rating:.2f}", str(item), titles.get(str(item), ""))
    out.print(table)


@app.command()
def prune(
    days: Annotated[int, typer.Option(min=1, help="What has changed within so many days stays.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    store: StoreOption = None,
) -> None:
    """Remove old runs, and the data and splits that no other run uses."""
    from mftasks.published import retention

    before = datetime.now(UTC) - timedelta(days=days)
    removed = retention.prune(_workspace(store).store, before, dry_run=dry_run)
    for one in removed:
        size = f"{len(one.keys)} objects, {one.n_bytes / 1e6:.1f} MB"
        changed = f"last changed {one.modified:%Y-%m-%d}"
        out.print(f"{one.kind} {one.folder}: {size}, {changed}", highlight=False, soft_wrap=True)
    total = f"{sum(one.n_bytes for one in removed) / 1e6:.1f} MB"
    out.print(f"{'would remove' if dry_run else 'removed'}: {len(removed)}, {total}")


def _published(where: str | None, store: str | None) -> Published:
    """Open a published run: the folder or run id that is asked for, else the latest at hand."""
    from mftasks import published

    if where and Path(where).is_dir():
        return published.open_folder(Path(where))
    nothing_said = not (where or store or os.environ.get("MF_STORE"))
    if nothing_said and LATEST.is_dir():
        return published.open_folder(LATEST)
    return published.open_run(_workspace(store), where)


def _do(name: str, store: str | None, *arguments: str) -> None:
    step = getattr(importlib.import_module(f"mftasks.steps.{name}"), name)
    workspace = _workspace(store)
    mode = workspace.settings.progress
    with progress.reporter(mode) as on_tick:
        record = step(workspace, *arguments, on_tick=on_tick)
    if mode != "json":
        out.print_json(_json(record))


def _workspace(store: str | None) -> Workspace:
    environment = dict(os.environ) | ({"MF_STORE": store} if store else {})
    return Workspace(settings.read(environment))


def parameters(pairs: list[str]) -> dict[str, Any]:
    """Turn `key=value` pairs into parameters; values are JSON where they parse as such.

    `overrides.mlp.epochs=3` reaches into objects. Raises `InvalidPlan` for anything else.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        *path, last = key.split(".")
        target = values
        for part in path:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise errors.InvalidPlan(f"--set {pair!r}: {part!r} has a value of its own already")
        if not equals:
            raise errors.InvalidPlan(f"--set {pair!r} is not of the form key=value")
        target[last] = _value(text)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(record: Record) -> str:
    import msgspec

    return msgspec.json.encode(record).decode()


def _show_results(manifest: Manifest) -> None:
    table = Table("network", "RMSE", "95 % interval", "MAE", "baseline", title=manifest.run_id)
    for one in sorted(manifest.evaluations, key=lambda one: one.rmse):
        table.add_row(
            one.network,
            f"{one.rmse:.4f}",
            f"{one.rmse_interval.low:.4f} – {one.rmse_interval.high:.4f}",
            f"{one.mae:.4f}",
            f"{min(one.baselines.values()):.4f}",
        )
    out.print(table)


class _Stopped(BaseException):
    """Carry a signal to the end of the process; libraries would swallow or retry an `Exception`."""


def _stop(number: int, _: object) -> NoReturn:
    raise _Stopped(f"stopped by {signal.Signals(number).name}; start it again to go on")


def _log_to_stderr() -> None:
    """Log in colour to a person at a terminal, and as plain lines to a file."""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(console=Console(stderr=True), show_path=False)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(f"[bold red]error[/] {message}", soft_wrap=True, highlight=False)
    raise SystemExit(code)
