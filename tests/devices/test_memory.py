from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mftasks.devices.memory import explain_shortage, oom_kills, peak_rss_bytes
from mftasks.errors import OutOfMemory

ROOT = Path(__file__).parents[2]
CHILD = """
from mftasks.devices.memory import peak_rss_bytes
before = peak_rss_bytes()
b"x" * 100_000_000
print(before, peak_rss_bytes())
"""


def test_the_peak_outlives_what_caused_it_and_is_not_that_of_the_parent() -> None:
    ballast = b"x" * 300_000_000
    asked = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, after = map(int, asked.stdout.split())
    assert before < 100_000_000
    assert after - before > 80_000_000
    assert peak_rss_bytes() > len(ballast)


def test_the_kernel_tells_how_often_it_ran_out_of_memory() -> None:
    assert 0 <= oom_kills() <= oom_kills()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("Traceback\nCheck failed: cudaMalloc retry failed: out of memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("cuDNN: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Failed to allocate CPU Memory"),
    ],
)
def test_a_shortage_of_memory_is_explained(error: Exception) -> None:
    with pytest.raises(OutOfMemory, match="lower batch_size") as explained, explain_shortage():
        raise error
    assert str(explained.value).startswith(str(error).splitlines()[-1] if str(error) else "Memory")


def test_another_error_is_not_taken_for_a_shortage() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explain_shortage():
        raise RuntimeError("shapes do not match")
