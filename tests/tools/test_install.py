from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a checkout whose requirements are none."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


def install(checkout: Path, want: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["tools/install", want],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unsupported_python_is_refused_in_one_sentence(checkout: Path) -> None:
    old = checkout / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.13 && exit\nexit 1\n')
    old.chmod(0o755)
    refused = install(checkout, "run", PYTHON=str(old))
    assert refused.returncode == 1
    (sentence,) = refused.stderr.splitlines()
    assert "Python 3.11 or 3.12 (found: Python 3.10.13)" in sentence
    assert "numpy" in sentence
    assert not (checkout / ".venv").exists()


def test_what_is_installed_is_installed_once(checkout: Path) -> None:
    first = install(checkout, "run", PYTHON=sys.executable)
    assert (first.returncode, first.stdout.count("installing")) == (0, 1), first.stderr
    assert (checkout / ".venv/bin/python").exists()
    assert install(checkout, "run").stdout == ""
    assert "installing requirements-dev.txt" in install(checkout, "dev").stdout
    assert install(checkout, "run").stdout == ""
    (checkout / "requirements.txt").write_text("# changed\n")
    assert "installing requirements.txt" in install(checkout, "run").stdout
