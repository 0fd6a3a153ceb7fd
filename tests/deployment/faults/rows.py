"""What the scenarios measure, as rows of two tables in a Markdown file: of trainings, and of services."""

from __future__ import annotations

import msgspec

from tests.tables import Table

TRAININGS = Table(
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
SERVICES = Table(
    "deployment",
    ("killed in mid-run", "well again after", "run took", "retries", "same bundles"),
)


class TrainingRow(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a fault on a training; seconds count from the fault, and are None if there was nothing to notice."""

    what: str
    noticed_seconds: float | None
    epochs_lost: int
    again_seconds: float | None
    retries: int
    same_bundle: bool

    def cells(self) -> tuple[str, ...]:
        """Return the cells of its row."""
        return (
            self.what,
            _seconds(self.noticed_seconds, digits=1),
            str(self.epochs_lost),
            _seconds(self.again_seconds, digits=1),
            str(self.retries),
            _yes(self.same_bundle),
        )


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run; `well_seconds` count from the fault, and are None if there was none."""

    what: str
    well_seconds: float | None
    run_seconds: float
    retries: int
    same_bundles: bool

    def cells(self) -> tuple[str, ...]:
        """Return the cells of its row."""
        return (
            self.what,
            _seconds(self.well_seconds, digits=0),
            _seconds(self.run_seconds, digits=0),
            str(self.retries),
            _yes(self.same_bundles),
        )


def _seconds(seconds: float | None, *, digits: int) -> str:
    return "–" if seconds is None else f"{seconds:.{digits}f} s"


def _yes(true: bool) -> str:
    return "yes" if true else "no"
