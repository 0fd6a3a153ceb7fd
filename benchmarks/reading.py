"""Reading a file of ratings: ours against pandas, interleaved, each run in a process of its own.

python -m benchmarks.reading [--rows 10000000]

Both end with the same arrays: positions of users and items among their sorted distinct ids, ratings and
times. Prints CPU seconds of all threads, and the peak of the memory as a multiple of these arrays; writes
output/bench-reading.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mftasks.devices.memory import peak_rss_bytes

OUTPUT = Path(__file__).resolve().parent.parent / "output" / "bench-reading.json"
SIDES = ("ours", "pandas")
BYTES_PER_ROW = 4 + 4 + 4 + 8
ROUNDS = 3


def main() -> None:
    """Run each side in each round, print the table, and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(_measure(asked.side, asked.path)))
        return
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        path = Path(folder, "ratings.csv")
        write_ratings(path, asked.rows)
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(ROUNDS):
            for side in SIDES:
                runs[side].append(_run(side, path))
    rows = {
        side: {name: statistics.median(run[name] for run in found) for name in found[0]}
        for side, found in runs.items()
    }
    _show(rows, asked.rows)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps({"n_rows": asked.rows, **rows}, indent=1))


def write_ratings(path: Path, n: int) -> None:
    """Write ratings whose users and items are as unevenly active as MovieLens's."""
    import pandas as pd

    draw = np.random.default_rng(7)
    n_users, n_items = max(n // 150, 10), max(n // 400, 10)
    with path.open("w") as file:
        for start in range(0, n, 1 << 20):
            size = min(1 << 20, n - start)
            users = (n_users * draw.random(size) ** 1.6).astype(int) + 1
            items = (n_items * draw.random(size) ** 3.2).astype(int) + 1
            ratings = draw.integers(1, 11, size) / 2
            times = draw.integers(9 * 10**8, 16 * 10**8, size)
            columns = {"userId": users, "movieId": items, "rating": ratings, "timestamp": times}
            pd.DataFrame(columns).to_csv(file, index=False, header=start == 0)


def _run(side: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.reading", "--side", side, "--path", str(path)]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(asked.stdout)
    return found


def _measure(side: str, path: Path) -> dict[str, float]:
    read = _read_ours if side == "ours" else _read_by_pandas
    read(path.with_name("warm-up.csv"), warm_up=True)
    began, before = time.process_time(), peak_rss_bytes()
    n = read(path)
    return {
        "cpu_s": time.process_time() - began,
        "times_arrays": (peak_rss_bytes() - before) / (n * BYTES_PER_ROW),
    }


def _read_ours(path: Path, *, warm_up: bool = False) -> int:
    from mftasks import reading
    from mftasks.records import ReadConfig

    if warm_up:
        path.write_text("userId,movieId,rating,timestamp\n1,2,3,1000000000\n2,2,4,1000000001\n")
    paths = [path]
    found = reading.read(paths, reading.understand(paths, ReadConfig()), ReadConfig())
    return found.table.n_ratings


def _read_by_pandas(path: Path, *, warm_up: bool = False) -> int:
    import pandas as pd

    if warm_up:
        path.write_text("userId,movieId,rating,timestamp\n1,2,3,1000000000\n2,2,4,1000000001\n")
    frame = pd.read_csv(path, dtype={"rating": "float32"})
    codes = [
        np.unique(frame[name].to_numpy(), return_inverse=True)[1].astype(np.int32)
        for name in ("userId", "movieId")
    ]
    return len(codes[0])


def _show(rows: dict[str, dict[str, float]], n: int) -> None:
    table = Table("", "CPU s", "peak memory / arrays", title=f"{n:,} ratings from CSV")
    for side, found in rows.items():
        table.add_row(side, f"{found['cpu_s']:.2f}", f"{found['times_arrays']:.1f}")
    ratio = rows["pandas"]["cpu_s"] / rows["ours"]["cpu_s"]
    table.caption = f"ours takes {ratio:.1f} times less"
    Console().print(table)


if __name__ == "__main__":
    main()
