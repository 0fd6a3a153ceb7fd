"""The command line of the product, as a process of its own or in this one."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mftasks import __main__ as cli

ROOT = Path(__file__).parents[2]


def variables(tmp_path: Path) -> dict[str, str]:
    return {"MF_STORE": (tmp_path / "store").as_uri(), "MF_CACHE": str(tmp_path / "cache")}


def start(*arguments: str, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mftasks", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables(tmp_path) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mf(*arguments: str, tmp_path: Path, **environment: str) -> tuple[int, str, str]:
    child = start(*arguments, tmp_path=tmp_path, **environment)
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err


def answer(*arguments: str, tmp_path: Path, **environment: str) -> tuple[int, str, str]:
    """Do the same in this process, which has imported already what takes another seconds."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with (
        pytest.MonkeyPatch.context() as patched,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name, value in (variables(tmp_path) | environment | {"COLUMNS": "140"}).items():
            patched.setenv(name, value)
        patched.setattr(sys, "argv", ["mftasks", *arguments])
        patched.chdir(tmp_path)
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return code, out.getvalue(), err.getvalue()
