"""Who holds which device of this host: a lock on one file a device, as long as the process lives.

The locks are `flock`s, which the kernel drops when their process ends, however it ends. So nothing
is ever cleaned up, and no file here may be unlinked or replaced: two processes would then lock two
files of one name. What a file says is for people only.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mftasks.errors import MfError, NoDeviceFree

if TYPE_CHECKING:
    from mftasks.devices.gpus import Device

log = logging.getLogger(__name__)

TRY_SECONDS = 0.2
TELL_SECONDS = 30.0


class _Holder(msgspec.Struct, frozen=True):
    pid: int
    holder: str
    since: datetime


class _Request(NamedTuple):
    candidates: Callable[[], list[Device]]
    n: int
    folder: Path
    holder: str


@contextlib.contextmanager
def lease(
    candidates: Callable[[], list[Device]],
    n: int,
    *,
    folder: Path,
    holder: str,
    wait_seconds: float,
) -> Iterator[tuple[Device, ...]]:
    """Hold the first `n` free devices of `candidates()`, all or none, until the context is left.

    `candidates` gives `n` at least, and is asked at each try, as free memory changes. Who asks
    first is served first. Others are told that `holder` holds the devices. Raises `NoDeviceFree`
    after `wait_seconds`, and `MfError` where `folder` cannot keep the locks.
    """
    request = _Request(candidates, n, folder, holder)
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            leased = _waited(held, request, wait_seconds)
        except OSError as error:
            raise MfError(
                f"no device can be leased in {folder}: {error}; "
                "let MF_LEASES name a folder on this host's own disk that this user may write to"
            ) from error
        yield leased


def _waited(
    held: contextlib.ExitStack, request: _Request, wait_seconds: float
) -> tuple[Device, ...]:
    asked = tell_at = time.monotonic()
    kind = request.candidates()[0].kind
    with _turn(request.folder / f"{kind}.turn") as came:
        while True:
            if came.wait(TRY_SECONDS) and (leased := _taken(held, request)):
                return leased
            now = time.monotonic()
            if now - asked >= wait_seconds:
                raise NoDeviceFree(
                    f"waited {now - asked:.0f} s for {_missing(request, came.is_set())}; try again "
                    "later, let fewer trainings run at once, or wait longer "
                    f"(MF_DEVICE_WAIT_SECONDS={wait_seconds:g})"
                )
            if now >= tell_at:
                log.info("waits for %s", _missing(request, came.is_set()))
                tell_at = now + TELL_SECONDS
            time.sleep(TRY_SECONDS)


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[threading.Event]:
    """Stand in line for the turn to try; the event says that it came. Pass it on in the end.

    The kernel wakes blocked `flock`s in the order in which they came, but lets none of them time
    out. So a thread blocks, and if nobody waits for it any more, it lets go as soon as it wakes.
    """
    came, over = threading.Event(), threading.Event()

    def hold() -> None:
        # Where this fails, locking a device fails alike, and that is told.
        with contextlib.suppress(OSError), _opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            came.set()
            over.wait()
        came.set()

    thread = threading.Thread(target=hold, name="turn", daemon=True)
    try:
        thread.start()
        yield came
    finally:
        over.set()
        if came.is_set():
            thread.join()  # a child that is forked later must not share the turn


def _taken(held: contextlib.ExitStack, request: _Request) -> tuple[Device, ...] | None:
    """Lock the first free devices and sign for them; let all go where they are too few."""
    taken: dict[Device, io.FileIO] = {}
    for device in request.candidates():
        # It is in `held` before it is locked, so that a signal at any moment leaves nothing locked.
        file = held.enter_context(_opened(_path(request.folder, device)))
        held.callback(fcntl.flock, file, fcntl.LOCK_UN)  # a forked child may share the lock
        if _locked(file, fcntl.LOCK_EX):
            taken[device] = file
        if len(taken) == request.n:
            for each in taken.values():
                _sign(each, request.holder)
            return tuple(taken)
    held.close()
    return None


def _path(folder: Path, device: Device) -> Path:
    return folder / f"{device.kind}-{re.sub('[^A-Za-z0-9._-]', '_', device.id)}.lock"


def _opened(path: Path) -> io.FileIO:
    # Nobody may make us write elsewhere by a link: a folder in /tmp has a name that can be guessed.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)


def _locked(file: io.FileIO, how: int) -> bool:
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


def _missing(request: _Request, turn_came: bool) -> str:
    """Return `1 of 2 devices: cpu 0 is held by …` for a person who wonders about the wait."""
    devices = request.candidates()
    told = [
        f"{f'cpu {device.id}' if device.kind == 'cpu' else device.name} is held by {holder}"
        for device in devices
        if (holder := _holder(_path(request.folder, device))) is not None
    ]
    if not turn_came:
        told.append("another asked before")
    return f"{request.n} of {len(devices)} devices: {', '.join(told) or 'just freed'}"


def _holder(path: Path) -> str | None:
    """Return who holds a device and since when, None where nobody does."""
    with _opened(path) as file:
        if _locked(file, fcntl.LOCK_SH):  # shared, so that two who look do not see each other
            return None
        try:
            signed = msgspec.json.decode(file.read(), type=_Holder)
        except msgspec.MsgspecError:
            return "another process"
    seconds = (datetime.now(UTC) - signed.since).total_seconds()
    return f"{signed.holder} (process {signed.pid}, for {max(seconds, 0):.0f} s)"
