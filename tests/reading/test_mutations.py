"""Damaged files are read as another parser reads them, or refused by an error of the product's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_BYTES = 10**9
BATCH = 2_500


@pytest.mark.parametrize(
    ("first", "n"),
    [
        (10**6, 500),
        *(pytest.param(n, BATCH, marks=pytest.mark.slow) for n in range(0, 10_000, BATCH)),
    ],
)
def test_damaged_files_are_read_right_or_refused(first: int, n: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.reading.mutating", str(tmp_path), str(first), str(n)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *wrong, last = done.stdout.splitlines()
    found = json.loads(last)
    assert wrong == []
    assert done.stderr == ""
    assert found["peak_bytes"] < MOST_BYTES
    assert 0.3 * n < found["n_read"] < 0.8 * n
