from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.devices.holders import Holder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Holder]]:
    with contextlib.ExitStack() as started:

        def start_one(name: str, n: int = 1, slots: int = 1, do: str = "wait") -> Holder:
            holder = Holder(folder, name, n, slots, do)
            started.enter_context(holder.process)
            started.callback(holder.process.kill)
            return holder

        yield start_one
