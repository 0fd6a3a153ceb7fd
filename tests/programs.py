"""The programs of Debian packages that tests run: each is named in tools/debian-packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "tools" / "debian-packages"


def path(name: str, purpose: str = "test") -> str:
    """Return where a program is, and fail the test if it is missing."""
    named = name in names(purpose)
    assert named, f"{name} is not named for '{purpose}' in {PACKAGES}"
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))
    assert found, f"{name} is not installed; type: tools/debian {purpose} (it reads {PACKAGES})"
    return found


def names(purpose: str) -> list[str]:
    """Return the programs for a purpose."""
    return [line[1] for line in lines(purpose)]


def lines(purpose: str) -> list[list[str]]:
    """Return the lines for a purpose, as lists of words."""
    every = [line.split() for line in PACKAGES.read_text().splitlines()]
    return [line for line in every if line and line[0] == purpose]
