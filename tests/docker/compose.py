"""Ask the real compose binary, which needs no engine for it, what docker-compose.yaml says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/dev/null")


def tool(name: str) -> str:
    """Return where a program is: beside this Python, or on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ["PATH"]]))
    assert found is not None, f"{name} is not installed"
    return found


def config(settings: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `docker-compose config` on the settings of a file, and no others than `more`."""
    asked = ["--env-file", str(settings), "--project-directory", str(ROOT), "--profile", "*"]
    return subprocess.run(
        [tool("docker-compose"), *asked, "config", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **more},
        capture_output=True,
        text=True,
        check=False,
    )


def read(settings: Path, **more: str) -> dict[str, Any]:
    """Return all that docker-compose.yaml says, with the settings of a file."""
    asked = config(settings, "--format", "json", **more)
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def make_env(folder: Path) -> Path:
    """Make an .env in a folder, and return it."""
    done = subprocess.run(
        [str(ROOT / "tools" / "env"), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / ".env"
