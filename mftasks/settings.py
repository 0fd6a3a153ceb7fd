"""The environment variables of the project, read in one place.

MF_STORE               where records and artifacts live: s3://bucket/prefix or file:///path
MF_S3_ENDPOINT         the S3 server, when it is not Amazon's; credentials as boto3 takes them
MF_CACHE               folder for verified copies of blobs; losing it costs time only
MF_CACHE_BYTES         most that MF_CACHE holds; copies that were used longest ago are removed first
MF_MOVIELENS_URL       base of the MovieLens zips: http, https or file
MF_DATA_ROOTS          folders, colons between them, that file:// data sets must lie in; any by default
MF_DATA_HOSTS          hosts, commas between them, that http data sets may be read from; public ones by default,
                       any with *
MF_DATA_BYTES          most that a data set of the user's own may hold
MF_CHECKPOINT_SECONDS  least time between two checkpoints of a training
MF_CPU_SLOTS           trainings at once on this host's CPU; its cores by default, three at least
MF_DEVICE_WAIT_SECONDS how long a training waits for a device that others hold; without limit by default
MF_LEASES              folder of the locks that show who holds which device of this host
MF_PROGRESS            how a step reports its progress: auto, bar, lines or json
"""

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
    """The values of these variables; the defaults fit a checkout on one machine."""

    store: str = msgspec.field(default_factory=lambda: Path(".local/store").absolute().as_uri())
    s3_endpoint: str | None = None
    cache: Path = msgspec.field(default_factory=lambda: Path("~/.cache/movielens-mf").expanduser())
    cache_bytes: AtLeastOne = 10 << 30
    movielens_url: str = "https://files.grouplens.org/datasets/movielens"
    data_roots: str = ""
    data_hosts: str = ""
    data_bytes: AtLeastOne = 32 << 30
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
