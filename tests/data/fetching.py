"""Fetching into a folder of a test."""

from __future__ import annotations

from pathlib import Path

from mftasks import progress
from mftasks.data import sources


def fetch(found: dict[str, sources.Source], tmp_path: Path) -> sources.Served:
    folder = tmp_path / "into"
    folder.mkdir()
    return sources.fetch_first(found, folder, progress.silent)
