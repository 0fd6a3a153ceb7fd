"""Run a command line of ours, so that an error becomes one sentence and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mftasks.errors import MfError

if TYPE_CHECKING:
    from collections.abc import Callable


def main(app: Callable[[], object]) -> None:
    """Run `app`; exits with the code that belongs to the error."""
    try:
        app()
    except MfError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
