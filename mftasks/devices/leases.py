"""Who holds which device of this host: a lock on one file per device, as long as the process lives.

The locks are `flock`s, which the kernel drops when their process ends, however it ends. So nothing
is ever cleaned up, and no file here may be unlinked or replaced: two processes would then lock two
files of one name. What a file contains is for people only.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mftasks.devices import gpus
from mftasks.errors import MfError, NoDeviceFree

if TYPE_CHECKING:
    from mftasks.devices.gpus import Device

TRY_SECONDS = 0.2
REPORT_SECONDS = 30.0


class _Holder(msgspec.Struct, frozen=True):
    pid: int
    holder: str
    since: datetime


class _Request(NamedTuple):
    devices: Sequence[Device]
    n: int
    folder: Path
    holder: str


@contextlib.contextmanager
def lease(
    devices: Sequence[Device],
    n: int,
    *,
    folder: Path,
    holder: str,
    wait_seconds: float | None = None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Device, ...]]:
    """Hold `n` of the devices, all or none, until the context is left; wait until they are free.

    The GPUs with the most free memory are taken first. Only one request of a kind of device tries at
    a time, so that one for many devices is not starved by those for one. `on_wait` gets, every half
    minute, what is waited for and who holds it; others read `holder` there. Raises `NoDeviceFree`
    after `wait_seconds` (None is no limit), and `MfError` if `folder` cannot keep the locks.
    """
    request = _Request(devices, n, folder, holder)
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            leased = _wait_for_devices(held, request, wait_seconds, on_wait)
        except OSError as error:
            raise MfError(
                f"no device can be leased in {folder}: {error}; "
                "let MF_LEASES name a folder on this host's own disk that this user may write to"
            ) from error
        yield leased


def _wait_for_devices(
    held: contextlib.ExitStack,
    request: _Request,
    wait_seconds: float | None,
    on_wait: Callable[[str], None],
) -> tuple[Device, ...]:
    began = time.monotonic()
    report_at = began + TRY_SECONDS
    with _open(request.folder / f"{request.devices[0].kind}.turn") as turn:
        is_next = False
        while True:
            is_next = is_next or _lock(turn, fcntl.LOCK_EX)
            if is_next and (leased := _take(held, request)):
                return leased
            now = time.monotonic()
            if wait_seconds is not None and now - began >= wait_seconds:
                raise NoDeviceFree(
                    f"waited {now - began:.0f} s for {_describe(request, is_next)}; let fewer trainings run "
                    f"at once, or wait longer (MF_DEVICE_WAIT_SECONDS={wait_seconds:g})"
                )
            if now >= report_at:
                on_wait(_describe(request, is_next))
                report_at = now + REPORT_SECONDS
            time.sleep(TRY_SECONDS)


def _take(held: contextlib.ExitStack, request: _Request) -> tuple[Device, ...] | None:
    """Lock the first free devices and sign for them; release all if they are too few."""
    taken: dict[Device, io.FileIO] = {}
    for device in gpus.by_free_memory(request.devices):
        # `held` has the file before it is locked, so that a signal at any moment leaves nothing locked.
        file = held.enter_context(_open(_path(request.folder, device)))
        if _lock(file, fcntl.LOCK_EX):
            taken[device] = file
        if len(taken) == request.n:
            for each in taken.values():
                _sign(each, request.holder)
            return tuple(taken)
    held.close()
    return None


def _path(folder: Path, device: Device) -> Path:
    return folder / f"{device.kind}-{re.sub('[^A-Za-z0-9._-]', '_', device.id)}.lock"


@contextlib.contextmanager
def _open(path: Path) -> Iterator[io.FileIO]:
    """Open the file of a lock; unlock it in the end, as a forked child may still have it open."""
    # A link is not followed: the name of a folder in /tmp can be guessed by others.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _lock(file: io.FileIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: io.FileIO, holder: str) -> None:
    line = msgspec.json.encode(_Holder(os.getpid(), holder, datetime.now(UTC))) + b"\n"
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        file.truncate(0)
        file.write(line)


def _describe(request: _Request, is_next: bool) -> str:
    """Return `1 of 2 devices: cpu 0 is held by …` for a person who wonders about the wait."""
    reasons = [
        f"{f'cpu {device.id}' if device.kind == 'cpu' else device.name} is held by {holder}"
        for device in request.devices
        if (holder := _read_holder(_path(request.folder, device))) is not None
    ]
    if not is_next:
        reasons.append("another training is next")
    return f"{request.n} of {len(request.devices)} devices: {', '.join(reasons) or 'just freed'}"


def _read_holder(path: Path) -> str | None:
    """Return who holds a device and since when, None if nobody does."""
    with _open(path) as file:
        if _lock(file, fcntl.LOCK_SH):  # shared, so that two who look do not see each other
            return None
        try:
            signed = msgspec.json.decode(file.read(), type=_Holder)
        except msgspec.MsgspecError:
            return "another process"
    seconds = (datetime.now(UTC) - signed.since).total_seconds()
    return f"{signed.holder} (process {signed.pid}, for {max(seconds, 0):.0f} s)"
