"""Written by `download`, `validate` and `split`: the ratings of a run, and what is known of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from mftasks.records.plan import SplitConfig
from mftasks.records.reading import Layout
from mftasks.records.record import BlobRef, Count, Record

Severity = Literal["error", "warning"]


class DatasetRef(Record, frozen=True, kw_only=True):
    """Verified data in the store: `ratings` as they came, `titles` of items as JSON.

    `more` are further files of ratings, if the data are in parts. `sha256` is that of the ratings,
    or of the sha256s of all files, and is the identity of the data, whichever `source` served it.
    `layout` is how a release is written; None if `validate` is to find that out.
    """

    name: str
    source: str
    layout: Layout | None = None
    sha256: str
    ratings: BlobRef
    titles: BlobRef | None = None
    more: tuple[BlobRef, ...] = ()

    @property
    def files(self) -> tuple[BlobRef, ...]:
        """Return the files of ratings, in their order."""
        return (self.ratings, *self.more)

    @property
    def file_names(self) -> list[str]:
        """Return what messages call the files."""
        return [blob.key.rpartition("/")[2] for blob in self.files]

    @property
    def blobs(self) -> list[BlobRef]:
        """Return all that the store holds of it."""
        return [*self.files, *filter(None, [self.titles])]


class Check(Record, frozen=True, kw_only=True):
    """A rule about the data, and whether they keep it.

    `remedy` are parameters of a run that would settle it, if the likely cause is the true one.
    """

    name: str
    severity: Severity
    passed: bool
    detail: str
    remedy: dict[str, Any] = {}


class Histogram(Record, frozen=True, kw_only=True):
    """Values counted by bin; `edges` has one more entry than `counts`."""

    edges: tuple[float, ...]
    counts: tuple[Count, ...]


class Profile(Record, frozen=True, kw_only=True):
    """A data set at a glance; moments are aware UTC, and None without timestamps.

    `layout` is how the ratings are read, None in profiles that did not know it yet; `dropped` counts the rows that were left out, by reason.
    """

    dataset: DatasetRef
    layout: Layout | None = None
    n_ratings: Count
    n_users: Count
    n_items: Count
    density: float
    mean_rating: float
    rating_counts: dict[str, Count]
    first_rated: datetime | None
    last_rated: datetime | None
    ratings_per_user: Histogram
    ratings_per_item: Histogram
    ratings_per_month: dict[str, Count]
    checks: tuple[Check, ...]
    dropped: dict[str, Count] = {}

    @property
    def warnings(self) -> list[str]:
        """Return what is odd about the data, a sentence for each rule that does not hold."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.passed]


class PartSize(Record, frozen=True, kw_only=True):
    """The size of a part of a split; `n_unseen_…` counts what the train part lacks."""

    n_ratings: Count
    n_users: Count
    n_items: Count
    n_unseen_users: Count = 0
    n_unseen_items: Count = 0
    n_unseen_ratings: Count = 0


class SplitRef(Record, frozen=True, kw_only=True):
    """The parts of a data set, as arrays in the store.

    `parts` maps train, valid (absent when empty) and test to npz blobs with `users`, `items`
    (int32 positions in the vocabulary, a negative number of its own for each id that the train part
    lacks), `ratings` (float32). `sizes` counts them, and the ratings that are `left_out` by `as_of`.
    `valid_from` is when the validation part begins under `temporal`; `warnings` name what makes the
    parts a poor test. `vocabulary` is an npz blob with `user_ids` and `item_ids` of the train part, sorted.
    Two RMSEs compare only if `fingerprint` is equal.
    """

    config: SplitConfig
    dataset_sha256: str
    fingerprint: str
    parts: dict[str, BlobRef]
    vocabulary: BlobRef
    sizes: dict[str, PartSize]
    mean_rating: float
    min_rating: float
    max_rating: float
    valid_from: datetime | None = None
    warnings: tuple[str, ...] = ()
