"""What a training may compute on: `hold` finds devices, leases them, and hides all others.

with devices.hold("auto", 1, settings.read(), holder="train mlp of r") as leased:
…  # import MXNet here
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mftasks.devices import gpus, leases
from mftasks.devices.gpus import Device

if TYPE_CHECKING:
    from mftasks.records import DeviceKind
    from mftasks.settings import Settings

__all__ = ["Device", "hold"]


@contextlib.contextmanager
def hold(
    wanted: DeviceKind,
    n: int,
    settings: Settings,
    *,
    holder: str,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Device, ...]]:
    """Hold `n` devices as `leases.lease` does, and let CUDA see no others.

    Raises what `gpus.candidates` and `leases.lease` raise.
    """
    found = gpus.candidates(wanted, n, cpu_slots=settings.cpu_slots, environment=os.environ)
    with leases.lease(
        found,
        n,
        folder=settings.leases,
        holder=holder,
        wait_seconds=settings.device_wait_seconds,
        on_wait=on_wait,
    ) as leased:
        gpus.show_only(leased, os.environ)
        yield leased
