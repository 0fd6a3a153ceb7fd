"""Checkpoints: all that a training needs to go on after an epoch, one atomic object each.

runs/<run_id>/<network>/checkpoints/<epoch>.checkpoint is an npz with weights, the optimizer's
moments, the best weights so far, and a header with history and fingerprint; then its sha256, 32 bytes.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mftasks import version
from mftasks.errors import InvalidDataset, MfError, MissingRecord
from mftasks.records import Count, EpochMetrics, Record
from mftasks.store import keys
from mftasks.store.workspace import BINARY
from mftasks.training.state import State

if TYPE_CHECKING:
    from mftasks.records import TrainConfig
    from mftasks.store import Store
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

ARRAYS = ("weights", "moments", "best_weights")
DIGEST_BYTES = 32
# The sources that can change what a training computes; a change elsewhere keeps its checkpoints.
SOURCES = (
    "data/arrays.py",
    "factors",
    "mx.py",
    "networks",
    "scoring/baselines.py",
    "scoring/errors.py",
    "settings.py",
    "training",
)


def fingerprint(config: TrainConfig, split_fingerprint: str) -> str:
    """Return what a checkpoint must agree on: data, configuration and code."""
    agreed = (
        split_fingerprint,
        msgspec.json.encode(config).decode(),
        version.sources_hash(*SOURCES),
    )
    return hashlib.sha256("\n".join(agreed).encode()).hexdigest()


class _Header(Record, frozen=True, kw_only=True):
    """What a checkpoint holds beside its arrays."""

    fingerprint: str
    history: tuple[EpochMetrics, ...]
    n_updates: Count
    cpu_seconds: float


def of_training(
    workspace: Workspace, run_id: str, config: TrainConfig, split_fingerprint: str
) -> Checkpoints:
    """Return the checkpoints of one network of a run."""
    return Checkpoints(
        workspace.store,
        keys.network(run_id, config.network, "checkpoints/"),
        fingerprint(config, split_fingerprint),
        seconds=workspace.settings.checkpoint_seconds,
    )


class Checkpoints:
    """The last checkpoint of one training, under `prefix` of a store, written by a thread.

    `fingerprint` stands for data, configuration and code; checkpoints of another are ignored. A
    checkpoint that cannot be stored, for whatever reason, is logged and counted in `n_failed`: it
    costs epochs if the training is interrupted, and not the training.
    """

    def __init__(self, store: Store, prefix: str, fingerprint: str, *, seconds: float) -> None:
        self.n_failed = 0
        self._store = store
        self._prefix = prefix
        self._fingerprint = fingerprint
        self._seconds = seconds
        self._offered: State | None = None
        self._saved_at = time.monotonic()
        self._saved_epoch = 0
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()

    def read_latest(self) -> State | None:
        """Return the last usable checkpoint; damaged ones and those of other code are skipped."""
        for key in reversed(self._store.list(self._prefix)):
            try:
                state = _decode(self._store.get(key), self._fingerprint)
            except (InvalidDataset, MissingRecord) as error:
                log.warning("checkpoint %s is skipped: %s", key, error)
            else:
                self._saved_epoch = state.epoch
                return state
        return None

    def offer(self, state: State) -> None:
        """Save `state` in the background if the last one was saved long enough ago."""
        self._offered = state
        due = time.monotonic() - self._saved_at >= self._seconds
        if due and (self._writing is None or self._writing.done()):
            self._saved_at = time.monotonic()
            self._writing = self._writer.submit(self._save, state)

    def save(self) -> None:
        """Save the last state that was offered, unless it is stored already."""
        if self._writing is not None:
            self._writing.result()
        if self._offered is not None and self._offered.epoch > self._saved_epoch:
            self._save(self._offered)

    def _save(self, state: State) -> None:
        try:
            self._put(state)
        except Exception as error:
            self.n_failed += 1
            log.warning(
                "no checkpoint of epoch %d: %s: %s",
                *(state.epoch, type(error).__name__, error),
                exc_info=not isinstance(error, MfError),
            )

    def _put(self, state: State) -> None:
        key = f"{self._prefix}{state.epoch:05d}.checkpoint"
        self._store.put(key, _encode(state, self._fingerprint), BINARY)
        self._saved_epoch = state.epoch
        for other in self._store.list(self._prefix):
            if other != key:
                self._store.delete(other)


def _encode(state: State, fingerprint: str) -> bytes:
    header = _Header(
        fingerprint=fingerprint,
        history=state.history,
        n_updates=state.n_updates,
        cpu_seconds=state.cpu_seconds,
    )
    arrays = {
        f"{field}.{number}": array
        for field in ARRAYS
        for number, array in enumerate(getattr(state, field) or [])
    }
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(msgspec.json.encode(header), np.uint8), **arrays)
    digest = hashlib.sha256(buffer.getbuffer()).digest()
    buffer.seek(0, io.SEEK_END)
    buffer.write(digest)
    return buffer.getvalue()


def _decode(data: bytes, fingerprint: str) -> State:
    """Return the state in a checkpoint; raises `InvalidDataset` if it is of no use."""
    content = memoryview(data)[:-DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-DIGEST_BYTES:]:
        raise InvalidDataset("it is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        try:
            header = msgspec.json.decode(arrays["header"].tobytes(), type=_Header)
        except msgspec.ValidationError as error:  # records may change without the fingerprint
            raise InvalidDataset(str(error)) from error
        if header.fingerprint != fingerprint:
            raise InvalidDataset("it is of other data, another configuration or other code")
        weights, moments, best = (
            [arrays[name] for name in arrays.files if name.startswith(f"{field}.")]
            for field in ARRAYS
        )
    history, n_updates = header.history, header.n_updates
    return State(history, n_updates, weights, moments, best or None, header.cpu_seconds)
