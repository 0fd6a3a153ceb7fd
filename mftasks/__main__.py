"""The command line: one subcommand per step, the whole run, predictions, and the store's upkeep.

python -m mftasks --help

This is the only module that reads arguments, prints, and turns errors into exit codes.
"""

from __future__ import annotations

import importlib
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mftasks import errors, progress, settings, terminal
from mftasks.data import uris
from mftasks.store import keys
from mftasks.store.workspace import Workspace

if TYPE_CHECKING:
    from mftasks.published import Published

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Retrain, evaluate and publish matrix-factorisation networks for rating prediction.",
)
out = terminal.console()

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
    typer.Option("--from", help="A published run: a folder or id, Airflow's too; else the latest."),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="A data set by its name, path or URI, if the store holds several.",
        callback=lambda given: given and uris.complete(given, Path.cwd()),
    ),
]
UserOption = Annotated[str, typer.Option(help="The user's id.")]
ChosenOption = Annotated[str | None, typer.Option("--network", help="Else the best one.")]


def main() -> None:
    """Run the command line; exits with the code that belongs to the error."""
    settings.limit_threads()
    terminal.log_to_stderr(timed=os.environ.get("MF_PROGRESS") != "json")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        app()
    except errors.MfError as error:
        terminal.print_error(f"{type(error).__name__}: {error}")
        raise SystemExit(error.exit_code) from None
    except _Stopped as stopped:
        terminal.print_error(f"Interrupted: {stopped}")
        raise SystemExit(errors.Interrupted.exit_code) from None


@app.command("run")
def run_all(store: StoreOption = None, given: SetOption = None, run_id: str | None = None) -> None:
    """Do the whole flow in this terminal: from the download to the published artifacts."""
    from mftasks import pipeline
    from mftasks.params import pairs
    from mftasks.published import results

    workspace = _open_workspace(store)
    name = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with progress.reporter(workspace.settings.progress) as on_tick:
        manifest = pipeline.run(workspace, name, pairs.parse(given or []), on_tick=on_tick)
    out.print(results.tabulate_results(manifest))
    out.print(terminal.plain(f"published: {workspace.store.uri}/{keys.run(name)}"), soft_wrap=True)


@app.command()
def plan(run_id: RunOption, store: StoreOption = None, given: SetOption = None) -> None:
    """Resolve and validate every parameter of a run."""
    from mftasks.params import pairs
    from mftasks.steps.plan import plan as step

    _print_record(step(_open_workspace(store), run_id, pairs.parse(given or [])))


@app.command("parameters")
def show_parameters() -> None:
    """Show every parameter of a run: what it is, what stands for it if empty, what it must be."""
    from mftasks.params import choices

    out.print(choices.write_markdown(), markup=False, emoji=False, highlight=False, soft_wrap=True)


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(help="A path or URI of ratings of your own.")],
    given: SetOption = None,
) -> None:
    """Show how a file of ratings is understood, what is odd about it, and what reads it."""
    from mftasks import inspection
    from mftasks.inspection import page
    from mftasks.params import pairs, parse

    chosen = parse(pairs.complete({**pairs.parse(given or []), "dataset": file}))
    found = settings.read()
    with progress.reporter(found.progress) as on_tick:
        seen = inspection.inspect(chosen.general.dataset, chosen.reading, found, on_tick)
    out.print(page.show(seen))
    out.print(page.show_command(seen), soft_wrap=True)


def _add_step(name: str, about: str) -> None:
    """Add the subcommand of a step on a run."""

    @app.command(name, help=about)
    def do(run_id: RunOption, store: StoreOption = None) -> None:
        _run_step(name, store, run_id)


def _add_network_step(name: str, about: str) -> None:
    """Add the subcommand of a step on one network of a run."""

    @app.command(name, help=about)
    def do(run_id: RunOption, network: NetworkOption, store: StoreOption = None) -> None:
        _run_step(name, store, run_id, network)


_add_step("download", "Download and verify the data set.")
_add_step("validate", "Check and profile the data.")
_add_step("split", "Divide the ratings into train, valid and test.")
_add_network_step("train", "Train one network and export it; resumes from its last checkpoint.")
_add_network_step("evaluate", "Evaluate one exported network on the test part.")
_add_step("report", "Draw the report and the comparison plot.")
_add_step("publish", "Publish the run: the manifest is put last.")


@app.command()
def predict(
    user: UserOption,
    item: Annotated[list[str], typer.Option(help="An item's id, as often as you like.")],
    source: FromOption = None,
    dataset: DatasetOption = None,
    network: ChosenOption = None,
    store: StoreOption = None,
) -> None:
    """Predict the rating that a user would give to an item."""
    from mftasks.published import answers

    for line in answers.predict(_open_published(source, dataset, store), network, user, item):
        out.print(terminal.plain(line), soft_wrap=True)


@app.command()
def recommend(
    user: UserOption,
    top: Annotated[int, typer.Option(min=1, help="How many items.")] = 10,
    source: FromOption = None,
    dataset: DatasetOption = None,
    network: ChosenOption = None,
    store: StoreOption = None,
) -> None:
    """List the items, not yet rated, that a user would rate highest."""
    from mftasks.published import answers

    out.print(answers.recommend(_open_published(source, dataset, store), network, user, top))


@app.command("runs")
def list_runs(dataset: DatasetOption = None, store: StoreOption = None) -> None:
    """List the published runs, the newest first."""
    from mftasks.published import index, results

    workspace = _open_workspace(store)
    found = index.find(workspace, dataset)
    out.print(results.tabulate_runs(index.read(workspace, reversed(found))))


@app.command()
def prune(
    days: Annotated[int, typer.Option(min=1, help="What has changed within so many days stays.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    store: StoreOption = None,
) -> None:
    """Remove old runs, and the data and splits that no other run uses."""
    from mftasks.published import retention

    before = datetime.now(UTC) - timedelta(days=days)
    removed = retention.prune(_open_workspace(store), before, dry_run=dry_run)
    for one in removed:
        out.print(terminal.plain(str(one)), soft_wrap=True)
    total = f"{len(removed)} folders, {sum(one.n_bytes for one in removed) / 1e6:.1f} MB"
    out.print(f"{'would remove' if dry_run else 'removed'}: {total}")


def _open_published(source: str | None, dataset: str | None, store: str | None) -> Published:
    from mftasks import published

    is_named = bool(store or os.environ.get("MF_STORE"))
    return published.open_any(_open_workspace(store), source, dataset, copies=not is_named)


def _run_step(name: str, store: str | None, *arguments: str) -> None:
    step = getattr(importlib.import_module(f"mftasks.steps.{name}"), name)
    workspace = _open_workspace(store)
    with progress.reporter(workspace.settings.progress) as on_tick:
        record = step(workspace, *arguments, on_tick=on_tick)
    if workspace.settings.progress != "json":
        _print_record(record)


def _open_workspace(store: str | None) -> Workspace:
    environment = dict(os.environ) | ({"MF_STORE": store} if store else {})
    return Workspace(settings.read(environment))


def _print_record(record: Any) -> None:
    import msgspec

    out.print(terminal.json(msgspec.json.encode(record)), soft_wrap=True)


class _Stopped(BaseException):
    """A signal on its way to the end of the process; libraries swallow or retry an `Exception`."""


def _stop(number: int, _: object) -> NoReturn:
    raise _Stopped(f"stopped by {signal.Signals(number).name}; start it again to go on")


if __name__ == "__main__":
    main()
