"""The notebook's training loop against ours, interleaved, each run in a process of its own.

python -m benchmarks [--quick] [--only linear]

Prints a table and writes output/bench.json, a list of {name, ours, theirs, ratio, unit, command}; `ratio`
is how many times less ours is. RMSE is pooled over the test part of fold u1, of clipped
predictions; that part is the yardstick here, and chooses nothing that the product uses.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.duels import DUELS, EPOCHS, QUICK_EPOCHS, Duel
from benchmarks.rows import Row, make_rows
from benchmarks.runs import Run, run, write_parts

OUTPUT = Path(__file__).resolve().parent.parent / "output" / "bench.json"


class Bout(NamedTuple):
    """What one process is to run: theirs of a network, or ours of a duel."""

    name: str
    module: str
    job: dict[str, Any]


def main() -> None:
    """Run every duel in each round, print the table, and write it."""
    asked = _parse_arguments()
    duels = [duel for duel in DUELS if asked.only in (None, duel.network)]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        bouts = _make_bouts(write_parts(Path(folder)), duels, quick=asked.quick)
        runs = _play(bouts * (1 if asked.quick else 3))
    rows = [
        row
        for duel in duels
        for row in make_rows(duel, runs[duel.name], runs[_name_theirs(duel.network)])
    ]
    _show(rows)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="one round, fewer epochs of theirs")
    parser.add_argument("--only", choices=sorted(EPOCHS), help="one network")
    return parser.parse_args()


def _make_bouts(parts: Path, duels: list[Duel], *, quick: bool) -> list[Bout]:
    """Return one round: the notebook's training of each network, and ours after it."""
    epochs = QUICK_EPOCHS if quick else EPOCHS
    bouts = []
    for network in dict.fromkeys(duel.network for duel in duels):
        job: dict[str, Any] = {"parts": str(parts), "network": network}
        theirs = {**job, "epochs": epochs[network]}
        bouts.append(Bout(_name_theirs(network), "benchmarks.notebook", theirs))
        for duel in duels:
            if duel.network == network:
                bouts.append(Bout(duel.name, "benchmarks.ours", {**job, "changes": duel.changes}))
    return bouts


def _name_theirs(network: str) -> str:
    return f"the notebook's {network}"


def _play(bouts: list[Bout]) -> dict[str, list[Run]]:
    """Run the bouts one after another; return the runs by the bout's name."""
    runs: dict[str, list[Run]] = {bout.name: [] for bout in bouts}
    with Progress(console=Console(stderr=True)) as progress:
        for bout in progress.track(bouts, description="runs"):
            done = run(bout.module, bout.job)
            runs[bout.name].append(done)
            last = done.epochs[-1]
            progress.console.print(f"{bout.name}: {last.cpu:.2f} s of CPU, RMSE {last.rmse:.4f}")
    return runs


def _show(rows: Iterable[Row]) -> None:
    table = Table("", "ours", "notebook's", "times less", "unit")
    for row in rows:
        table.add_row(
            row.name, f"{row.ours:.4g}", f"{row.theirs:.4g}", f"{row.ratio:.3g}", row.unit
        )
    Console().print(table)


if __name__ == "__main__":
    main()
