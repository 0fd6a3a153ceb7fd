"""The exceptions of the pipeline, each with the exit code of its process and whether a retry can help.

MfError                 70  retry   whatever was not foreseen
├── InvalidPlan         64          a parameter is unknown or impossible
│   ├── UnknownNetwork
│   ├── BrokenNetwork
│   └── UnknownDataset
├── InvalidDataset      65          the data break a rule that training relies on
├── ChecksumMismatch    65          bytes are not the ones that were promised
├── TrainingDiverged    65          the loss is no longer finite
├── MissingRecord       66          a step ran before the one that it builds on
├── SourceUnavailable   69  retry   no source of the data answers
├── StoreUnavailable    69  retry   the object store does not answer
├── DeviceUnavailable   69  retry   a worker's GPUs do not answer
├── OutOfMemory         71  retry   the host or the device has less memory than the step needs
├── NoDeviceFree        75  retry   every device is leased
└── Interrupted         75  retry   stopped by a signal; a checkpoint is in the store

A message says what was wrong, the value, and what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

LONGEST = 300


class MfError(Exception):
    """Fail for a reason that a person can act on."""

    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = True


class InvalidPlan(MfError):
    """Refuse a parameter that is unknown or impossible."""

    exit_code = 64
    retryable = False


class UnknownNetwork(InvalidPlan):
    """Refuse a network that has no file in `mftasks/networks`."""


class BrokenNetwork(InvalidPlan):
    """Refuse a network whose file cannot be used."""


class UnknownDataset(InvalidPlan):
    """Refuse a data set that is neither in the catalogue nor a URI."""


class InvalidDataset(MfError):
    """Refuse data that break rules that training relies on; data that cannot be read break one."""

    exit_code = 65
    retryable = False

    def __init__(self, message: str, n_rules: int = 1) -> None:
        super().__init__(message)
        self.n_rules = n_rules


class ChecksumMismatch(MfError):
    """Refuse bytes that are not the ones that were promised."""

    exit_code = 65
    retryable = False


class TrainingDiverged(MfError):
    """Stop a training whose loss is no longer finite."""

    exit_code = 65
    retryable = False


class MissingRecord(MfError):
    """Refuse to run a step before the one that it builds on."""

    exit_code = 66
    retryable = False


class SourceUnavailable(MfError):
    """Give up on sources of data that do not answer."""

    exit_code = 69


class StoreUnavailable(MfError):
    """Give up on an object store that does not answer."""

    exit_code = 69


class DeviceUnavailable(MfError):
    """Give up on a worker that is built for GPUs and whose driver does not answer."""

    exit_code = 69


class OutOfMemory(MfError):
    """Give up on a step that needs more memory than the host or the device has now."""

    exit_code = 71


class NoDeviceFree(MfError):
    """Give up waiting for a device that others hold."""

    exit_code = 75


class Interrupted(MfError):
    """Report that a signal stopped the step; a retry resumes from the checkpoint in the store."""

    exit_code = 75


def of_exit_code(code: int) -> type[MfError]:
    """Return the class of the error with which a step's process exited, `MfError` if unknown."""
    kinds = (
        *(InvalidPlan, InvalidDataset, MissingRecord),
        *(SourceUnavailable, OutOfMemory, Interrupted),
    )
    return next((kind for kind in kinds if kind.exit_code == code), MfError)


def quote(value: object) -> str:
    """Return `value` as a message shows it: what is longer than 300 letters is cut."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} letters)"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'mlp'? known: linear, mlp, resnet` for a misspelt `word`."""
    names = list(known)
    close = difflib.get_close_matches(word[:LONGEST], names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} known: {', '.join(names)}"
