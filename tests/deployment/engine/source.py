"""A copy of this checkout, and what the real compose binary makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.deployment.engine import image, service
from tests.deployment.engine.service import Service
from tests.docker.compose import ROOT, tool


def copy(folder: Path) -> Path:
    """Copy what git would have: files that it knows, and new ones that it does not ignore."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)  # as if it was deployed now
    return folder


def read_services(rendered: str) -> dict[str, Service]:
    """Return the services whose images can be had here."""
    return {
        name: service.read(given)
        for name, given in json.loads(rendered)["services"].items()
        if not image.missing(given["image"])
    }


def render(checkout: Path, **settings: str) -> str:
    """Return what compose makes of the file and of .env, but for some settings, as JSON."""
    return subprocess.run(
        [tool("docker-compose"), "config", "--format", "json"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
