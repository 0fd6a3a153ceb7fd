"""Remove the logs of tasks that ended long ago, while Airflow may write and remove logs as well."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """A file or a folder below the logs, as it was when it was found."""

    path: Path
    is_folder: bool
    n_bytes: int


def remove_logs(folder: Path, before: datetime, *, dry_run: bool) -> tuple[int, int]:
    """Remove what was last changed before a moment: logs, and the folders that are empty then.

    Return how many logs there were, and how many bytes they had.
    """
    old = list(_find_old(folder, before))
    if not dry_run:
        for one in reversed(old):  # what is in a folder comes before the folder
            _remove(one)
    logs = [one for one in old if not one.is_folder]
    return len(logs), sum(one.n_bytes for one in logs)


def _find_old(folder: Path, before: datetime) -> Iterator[Found]:
    """Give each folder, by its own time of change, and then what is in it."""
    for root, folders, files in os.walk(folder):
        for path in (Path(root, name) for name in (*folders, *files)):
            with contextlib.suppress(FileNotFoundError):  # it vanished after it was listed
                found = path.lstat()
                if found.st_mtime < before.timestamp():
                    yield Found(path, stat.S_ISDIR(found.st_mode), found.st_size)


def _remove(found: Found) -> None:
    if found.is_folder:
        with contextlib.suppress(OSError):  # it is gone, or something is in it
            found.path.rmdir()
    else:
        found.path.unlink(missing_ok=True)
