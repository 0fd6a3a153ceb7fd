"""The environment variables of the project, `MF_STORE` and so on, read in one place; README.md lists them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mftasks.errors import InvalidPlan, quote
from mftasks.records import AtLeastOne, NotNegative

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The value of `MF_<FIELD>` for each field; the defaults fit a checkout on one machine."""

    store: str = msgspec.field(default_factory=lambda: Path(".local/store").absolute().as_uri())
    s3_endpoint: str | None = None
    cache: Path = msgspec.field(default_factory=lambda: Path("~/.cache/movielens-mf").expanduser())
    cache_bytes: AtLeastOne = 10 << 30
    movielens_url: str = "https://files.grouplens.org/datasets/movielens"
    data_roots: str = ""
    checkpoint_seconds: float = 5.0
    cpu_slots: AtLeastOne = msgspec.field(default_factory=lambda: max(3, os.cpu_count() or 1))
    device_wait_seconds: NotNegative | None = None
    leases: Path = msgspec.field(
        default_factory=lambda: Path(tempfile.gettempdir(), f"movielens-mf-leases-{os.getuid()}")
    )
    progress: str = "auto"


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environment` (the process's own by default).

    Raises `InvalidPlan` for a value of the wrong type.
    """
    values = os.environ if environment is None else environment
    given = {
        field.name: values[variable]
        for field in msgspec.structs.fields(Settings)
        if values.get(variable := f"MF_{field.name.upper()}")
    }
    try:
        return msgspec.convert(
            given, Settings, strict=False, dec_hook=lambda kind, value: kind(value)
        )
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        value = quote(given[name])  # this one alone, as others may hold a password
        raise InvalidPlan(f"environment variable MF_{name.upper()}={value}: {error}") from error


def limit_threads() -> None:
    """Give NumPy and MXNet one thread each, unless the user set another number.

    They read it once, when they are imported. More are slower here: trainings run side by side, and
    idle threads of both libraries spin.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")
