"""Checkpoints: all that a training needs to go on after an epoch, one atomic object each.

runs/<run_id>/<network>/checkpoints/<epoch>.checkpoint is a sha256 of 32 bytes and then an npz:
weights, the optimizer's moments, the best weights so far, and a header with history and
fingerprint. The random state needs no room: every epoch seeds itself from (seed, epoch).
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

from mftasks.errors import MissingRecord, StoreUnavailable
from mftasks.records import Count, EpochMetrics, Record
from mftasks.store.workspace import BINARY
from mftasks.training.state import State

if TYPE_CHECKING:
    from mftasks.store import Store

log = logging.getLogger(__name__)

ARRAYS = ("weights", "moments", "best_weights")
DIGEST = 32  # bytes


class _Unusable(Exception):
    """Say why a checkpoint is passed by; it never leaves this module."""


class _Header(Record, frozen=True, kw_only=True):
    """Say what the other arrays of the file are; `counts` has their number by field."""

    fingerprint: str
    history: tuple[EpochMetrics, ...]
    n_updates: Count
    counts: dict[str, Count]


class Checkpoints:
    """Keep the last checkpoint of one training under `prefix` of a store, written by a thread.

    `fingerprint` stands for data, configuration and code; checkpoints of another are ignored.
    """

    def __init__(self, store: Store, prefix: str, fingerprint: str, *, seconds: float) -> None:
        self._store = store
        self._prefix = prefix
        self._fingerprint = fingerprint
        self._seconds = seconds
        self._saved_at = time.monotonic()
        self._saved_epoch = 0
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()

    def latest(self) -> State | None:
        """Return the last usable checkpoint: damaged ones and those of other code are passed by."""
        for key in reversed(self._store.list(self._prefix)):
            try:
                state = _decoded(self._store.get(key), self._fingerprint)
            except (_Unusable, MissingRecord) as error:
                log.warning("checkpoint %s is passed by: %s", key, error)
            else:
                self._saved_epoch = state.epoch
                return state
        return None

    def offer(self, state: State) -> None:
        """Save `state` in the background where the last one was saved long enough ago.

        A store that does not answer costs the checkpoint, not the training.
        """
        due = time.monotonic() - self._saved_at >= self._seconds
        if due and (self._writing is None or self._writing.done()):
            self._saved_at = time.monotonic()
            self._writing = self._writer.submit(self._try, state)

    def save(self, state: State) -> None:
        """Save `state` now, unless it is there; raises `StoreUnavailable`."""
        if self._writing is not None:
            self._writing.result()
        if state.epoch > self._saved_epoch:
            self._put(state)

    def _try(self, state: State) -> None:
        try:
            self._put(state)
        except StoreUnavailable as error:
            log.warning("no checkpoint of epoch %d: %s", state.epoch, error)

    def _put(self, state: State) -> None:
        key = f"{self._prefix}{state.epoch:05d}.checkpoint"
        self._store.put(key, _encoded(state, self._fingerprint), BINARY)
        self._saved_epoch = state.epoch
        self._prune(key)

    def _prune(self, newest: str) -> None:
        for key in self._store.list(self._prefix):
            if key != newest:
                self._store.delete(key)


def _encoded(state: State, fingerprint: str) -> bytes:
    fields = {field: getattr(state, field) or [] for field in ARRAYS}
    header = _Header(
        fingerprint=fingerprint,
        history=state.history,
        n_updates=state.n_updates,
        counts={field: len(arrays) for field, arrays in fields.items()},
    )
    named = {f"{field}.{i}": array for field in ARRAYS for i, array in enumerate(fields[field])}
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(msgspec.json.encode(header), np.uint8), **named)
    return hashlib.sha256(buffer.getbuffer()).digest() + buffer.getbuffer()


def _decoded(data: bytes, fingerprint: str) -> State:
    content = memoryview(data)[DIGEST:]
    if hashlib.sha256(content).digest() != data[:DIGEST]:
        raise _Unusable("it is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        header = msgspec.json.decode(arrays["header"].tobytes())
        if header["fingerprint"] != fingerprint:
            raise _Unusable("it is of other data, another configuration or other code")
        header = msgspec.convert(header, _Header)
        weights, moments, best = (
            [arrays[f"{field}.{i}"] for i in range(header.counts[field])] for field in ARRAYS
        )
    return State(header.history, header.n_updates, weights, moments, best or None)
