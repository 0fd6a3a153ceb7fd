"""What the scenarios measure: a row each, as JSON, and as a table in a Markdown file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.tables import Table

TABLE = Table(
    "chaos",
    (
        "what happens",
        "noticed after",
        "epochs lost",
        "trains again after",
        "retries",
        "same bundle",
    ),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one scenario; seconds count from the blow, and are None where nothing was to notice."""

    what: str
    noticed_seconds: float | None
    epochs_lost: int
    again_seconds: float | None
    retries: int
    same_bundle: bool

    def cells(self) -> tuple[str, ...]:
        """Return what a table shows, in the order of its columns."""
        return (
            self.what,
            _seconds(self.noticed_seconds),
            str(self.epochs_lost),
            _seconds(self.again_seconds),
            str(self.retries),
            "yes" if self.same_bundle else "no",
        )


def write_json(rows: list[Row], path: Path) -> None:
    """Write the rows to a file, whose folder is made."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"
