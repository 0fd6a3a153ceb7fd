"""What a deployment does when a service of it dies: a row each, as a table in a Markdown file."""

from __future__ import annotations

import msgspec

from tests.tables import Table

TABLE = Table(
    "deployment",
    ("killed in mid-run", "well again after", "run took", "retries", "same bundles"),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one run; `well_seconds` count from the blow, and are None where there was none."""

    what: str
    well_seconds: float | None
    run_seconds: float
    retries: int
    same_bundles: bool

    def cells(self) -> tuple[str, ...]:
        """Return what a table shows, in the order of its columns."""
        well = "–" if self.well_seconds is None else f"{self.well_seconds:.0f} s"
        same = "yes" if self.same_bundles else "no"
        return (self.what, well, f"{self.run_seconds:.0f} s", str(self.retries), same)
