"""The exceptions of the pipeline, each with the exit code of its process and whether a retry can help.

MfError                     70  retry   whatever was not foreseen
├── InvalidPlan             64          a parameter is unknown or impossible
│   ├── UnknownNetwork
│   ├── BrokenNetwork
│   └── UnknownDataset
├── Unusable                65          data, or what was learned from them, cannot be used
│   ├── InvalidDataset                  the data break a rule that training relies on
│   ├── ChecksumMismatch                bytes are not the ones that were promised
│   └── TrainingDiverged                the loss is no longer finite
├── MissingRecord           66          a step ran before the one that it builds on
├── Unavailable             69  retry   something outside the pipeline does not answer
│   ├── SourceUnavailable               no source of the data
│   ├── StoreUnavailable                the object store
│   └── DeviceUnavailable               a worker's GPUs
├── OutOfMemory             71  retry   the host or the device has less memory than the step needs
└── Postponed               75  retry   the step can go on later
    ├── NoDeviceFree                    every device is leased
    └── Interrupted                     stopped by a signal; a checkpoint is in the store

A message says what was wrong, the value, and what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

LONGEST = 300


class MfError(Exception):
    """A failure that a person can act on."""

    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = True


class InvalidPlan(MfError):
    """A parameter that is unknown or impossible."""

    exit_code = 64
    retryable = False


class UnknownNetwork(InvalidPlan):
    """A network that has no file in `mftasks/networks`."""


class BrokenNetwork(InvalidPlan):
    """A network whose file cannot be used."""


class UnknownDataset(InvalidPlan):
    """A data set that is neither in the catalogue nor a URI."""


class Unusable(MfError):
    """Data, or a result, that the pipeline cannot use however often it tries."""

    exit_code = 65
    retryable = False


class InvalidDataset(Unusable):
    """Data that break `n_rules` rules that training relies on; unreadable data break one."""

    def __init__(self, message: str, n_rules: int = 1) -> None:
        super().__init__(message)
        self.n_rules = n_rules


class ChecksumMismatch(Unusable):
    """Bytes that are not the ones that were promised."""


class TrainingDiverged(Unusable):
    """A training whose loss is no longer finite."""


class MissingRecord(MfError):
    """A step that ran before the one that it builds on."""

    exit_code = 66
    retryable = False


class Unavailable(MfError):
    """Something outside the pipeline that does not answer."""

    exit_code = 69


class SourceUnavailable(Unavailable):
    """Sources of data that do not answer."""


class StoreUnavailable(Unavailable):
    """An object store that does not answer."""


class DeviceUnavailable(Unavailable):
    """A driver that does not answer on a worker that is built for GPUs."""


class OutOfMemory(MfError):
    """A step that needs more memory than the host or the device has now."""

    exit_code = 71


class Postponed(MfError):
    """A step that ended before its work was done, and can go on later."""

    exit_code = 75


class NoDeviceFree(Postponed):
    """Devices that others held for as long as the step would wait."""


class Interrupted(Postponed):
    """A signal that stopped the step; a retry resumes from the checkpoint in the store."""


def of_exit_code(code: int) -> type[MfError]:
    """Return the family of errors whose processes exit with `code`, `MfError` if there is none."""
    kinds: list[type[MfError]] = [MfError, *MfError.__subclasses__()]
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
