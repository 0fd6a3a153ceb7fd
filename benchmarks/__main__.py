"""The notebook's training loop against ours, interleaved, each run in a process of its own.

python -m benchmarks [--quick] [--only linear]

Prints a table and writes output/bench.json, a list of {name, ours, theirs, ratio, unit, command}, where
`ratio` says how many times less ours is. RMSE is pooled over the test part of fold u1, of clipped
predictions; that part is the yardstick here, and chooses nothing that the product uses. Both sides
run on one thread, with the settings of `mftasks.mx`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.duels import DUELS, EPOCHS, QUICK_EPOCHS, Duel
from benchmarks.rows import Row, rows_of
from benchmarks.runs import Run, run, write_parts

OUTPUT = Path(__file__).resolve().parent.parent / "output" / "bench.json"


def main() -> None:
    """Run every duel in each round, print the table, and write it."""
    asked = _arguments()
    duels = [duel for duel in DUELS if asked.only in (None, duel.network)]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        parts = write_parts(Path(folder))
        theirs, ours = _play(parts, duels, rounds=1 if asked.quick else 3, quick=asked.quick)
    rows = [row for duel in duels for row in rows_of(duel, ours[duel.name], theirs[duel.network])]
    _show(rows)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="one round, fewer epochs of theirs")
    parser.add_argument("--only", choices=sorted(EPOCHS), help="one network")
    return parser.parse_args()


def _play(
    parts: Path, duels: list[Duel], *, rounds: int, quick: bool
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Run both sides by turns; return their runs by network and ours by duel."""
    networks = list(dict.fromkeys(duel.network for duel in duels))
    theirs: dict[str, list[Run]] = {network: [] for network in networks}
    ours: dict[str, list[Run]] = {duel.name: [] for duel in duels}
    epochs = QUICK_EPOCHS if quick else EPOCHS
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=rounds * (len(networks) + len(duels)))
        for _ in range(rounds):
            for network in networks:
                progress.update(bar, description=f"theirs: {network}")
                job = {"parts": str(parts), "network": network, "epochs": epochs[network]}
                theirs[network].append(run("benchmarks.notebook", job))
                progress.advance(bar)
                for duel in duels:
                    if duel.network != network:
                        continue
                    progress.update(bar, description=f"ours: {duel.name}")
                    job = {"parts": str(parts), "network": network, "changes": duel.changes}
                    ours[duel.name].append(run("benchmarks.ours", job))
                    progress.advance(bar)
    return theirs, ours


def _show(rows: Iterable[Row]) -> None:
    table = Table("", "ours", "notebook's", "times less", "unit")
    for row in rows:
        table.add_row(
            row.name, f"{row.ours:.4g}", f"{row.theirs:.4g}", f"{row.ratio:.3g}", row.unit
        )
    Console().print(table)


if __name__ == "__main__":
    main()
