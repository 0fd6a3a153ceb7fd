"""Fill the disk on which a folder of a container lies."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.deployment.engine.container import Container

MIB = 1 << 20


@contextlib.contextmanager
def full(container: Container, folder: str) -> Iterator[Path]:
    """Mount a full disk over a folder; give the file whose removal makes room."""
    user, _, group = container.service.user.partition(":")
    options = f"size={16 * MIB},uid={user},gid={group},mode=0700"
    _inside(container, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
    try:
        filling = Path(f"/proc/{container.init}/root{folder}/full")
        with contextlib.suppress(OSError), filling.open("wb") as file:
            file.write(bytes(32 * MIB))
        yield filling
    finally:
        _inside(container, "umount", "--lazy", folder)


def _inside(container: Container, *command: str) -> None:
    """Run a command as root, who may mount, where a container sees its files."""
    enter = ["nsenter", "--target", str(container.init), "--mount", "--root", "--wd", "--pid"]
    subprocess.run([*enter, *command], check=True)
