from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mftasks.mx import nd

ROOT = Path(__file__).parents[2]


def run_script(script: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the flag is that of x86-64")
def test_mxnet_flushes_denormals_and_numpy_keeps_them() -> None:
    tiny = np.float32(1e-37)
    assert float((nd.full(16, 1e-37) * 1e-3)[0].asscalar()) == 0
    assert float(np.full(16, tiny)[0] * np.float32(1e-3)) == pytest.approx(1e-40, rel=1e-3)


NUMPY = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print(os.environ.get("OMP_NUM_THREADS"), os.environ.get("OPENBLAS_NUM_THREADS"))
            sys.exit()
sys.meta_path.insert(0, Finder())
import mftasks.mx
"""


def test_one_thread_is_used_unless_the_user_sets_another_number_before_numpy_reads_it() -> None:
    assert run_script(NUMPY) == "1 1"
    assert run_script(NUMPY, OMP_NUM_THREADS="3") == "3 1"
