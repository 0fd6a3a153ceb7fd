"""Which code this is: recorded in every plan, bundle and manifest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import subprocess
from pathlib import Path

VERSION = "0.2.0"
PACKAGE = Path(__file__).parent


@functools.cache
def code_version() -> str:
    """Return the version with the commit of the checkout, or with the hash of the sources if there is none."""
    commit = _describe_commit(PACKAGE.parent)
    return f"{VERSION}+{commit or f'src.{sources_hash()[:12]}'}"


def _describe_commit(root: Path) -> str | None:
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError):  # git is not installed everywhere
        asked = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return None


@functools.cache
def sources_hash(*paths: str) -> str:
    """Return the sha256 of the sources at these paths of the package, by default of all, in hex.

    A path is a file or a folder: `mx.py`, `networks`.
    """
    digest = hashlib.sha256()
    for source in _find_sources(paths or (".",)):
        name = source.relative_to(PACKAGE).as_posix()
        digest.update(name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _find_sources(paths: tuple[str, ...]) -> list[Path]:
    found = (PACKAGE / path for path in paths)
    return sorted(
        {source for path in found for source in (path.rglob("*.py") if path.is_dir() else [path])}
    )
