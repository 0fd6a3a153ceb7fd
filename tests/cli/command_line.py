"""The command line of the product, started as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*arguments: str, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mftasks", *arguments],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MF_STORE": (tmp_path / "store").as_uri(),
            "MF_CACHE": str(tmp_path / "cache"),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mf(*arguments: str, tmp_path: Path, **environment: str) -> tuple[int, str, str]:
    child = start(*arguments, tmp_path=tmp_path, **environment)
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err
