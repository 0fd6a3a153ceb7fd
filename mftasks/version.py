"""Which code this is: recorded in every plan, bundle and manifest."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from pathlib import Path

VERSION = "0.1.0"


@functools.cache
def code_version() -> str:
    """Return the version with the commit of the checkout, or with the sources' hash elsewhere."""
    root = Path(__file__).parent.parent
    if (root / ".git").exists():
        asked = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return f"{VERSION}+{asked.stdout.strip()}"
    return f"{VERSION}+src.{sources_hash()[:12]}"


@functools.cache
def sources_hash() -> str:
    """Return the sha256 of all sources of this package, in hex."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
