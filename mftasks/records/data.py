"""Written by `download`, `validate` and `split`: the ratings of a run, and what is known of them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from mftasks.records.plan import SplitConfig
from mftasks.records.record import BlobRef, Count, Record

Severity = Literal["error", "warning"]


class DatasetRef(Record, frozen=True, kw_only=True):
    """Verified data in the store: `ratings` in the publisher's format, `titles` of items as JSON.

    `sha256` is that of the ratings file and is the identity of the data, whichever `source` served
    it. `format` is a key of `formats.FORMATS`.
    """

    name: str
    source: str
    format: str
    sha256: str
    ratings: BlobRef
    titles: BlobRef | None = None

    @property
    def blobs(self) -> list[BlobRef]:
        """Return all that the store holds of it."""
        return [blob for blob in (self.ratings, self.titles) if blob is not None]


class Check(Record, frozen=True, kw_only=True):
    """A rule about the data, and whether they keep it."""

    name: str
    severity: Severity
    passed: bool
    detail: str


class Histogram(Record, frozen=True, kw_only=True):
    """Values counted by bin; `edges` has one more entry than `counts`."""

    edges: tuple[float, ...]
    counts: tuple[Count, ...]


class Profile(Record, frozen=True, kw_only=True):
    """A data set at a glance; moments are aware UTC, and None without timestamps."""

    dataset: DatasetRef
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
