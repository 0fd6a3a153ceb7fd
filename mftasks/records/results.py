"""Written by `evaluate`, `report` and `publish`: how good a run is, and what it published."""

from __future__ import annotations

from datetime import datetime

from mftasks.records.data import DatasetRef, Histogram, Profile, SplitRef
from mftasks.records.plan import DagRun, RunPlan
from mftasks.records.record import AtLeastOne, BlobRef, Count, Record
from mftasks.records.training import BundleRef, TrainResult


class Interval(Record, frozen=True, kw_only=True):
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


KNOWN = "known"
"""The label of the group of ratings whose user and item training knows."""


class Group(Record, frozen=True, kw_only=True):
    """The RMSE of a group of test ratings."""

    label: str
    n_ratings: Count
    rmse: float


class Evaluation(Record, frozen=True, kw_only=True):
    """How well an exported bundle predicts the test part.

    `rmse` and `mae` are of predictions clipped to the rating scale, `rmse_raw` of unclipped ones;
    `baselines` maps mean and biases to their RMSE, and `gain` is how far `rmse` is below the best
    of them, over the same resampled users. Intervals are None for too few users.
    `by_novelty` sets ratings of known users and items apart from those of new ones, which
    `n_fallback` counts. `residuals` counts rating − predicted.
    """

    network: str
    split_fingerprint: str
    bundle: BundleRef
    n_ratings: Count
    n_fallback: Count
    rmse: float
    rmse_raw: float
    mae: float
    n_users: Count = 0
    rmse_interval: Interval | None = None
    mae_interval: Interval | None = None
    baselines: dict[str, float]
    gain: Interval | None = None
    by_rating: tuple[Group, ...]
    by_activity: tuple[Group, ...]
    by_novelty: tuple[Group, ...] = ()
    residuals: Histogram

    @property
    def best_baseline(self) -> tuple[str, float]:
        """Return the baseline of the lowest RMSE, and its RMSE."""
        return min(self.baselines.items(), key=lambda one: one[1])

    @property
    def warm(self) -> Group | None:
        """Return the group of ratings whose user and item training knows, if there are others."""
        known = [group for group in self.by_novelty if group.label == KNOWN]
        return known[0] if known and len(self.by_novelty) > 1 else None

    @property
    def cold(self) -> Group | None:
        """Return the group of all other ratings, if there are any."""
        new = [group for group in self.by_novelty if group.label != KNOWN]
        if not new:
            return None
        n = sum(group.n_ratings for group in new)
        squared = sum(group.n_ratings * group.rmse**2 for group in new)
        return Group(label="cold", n_ratings=n, rmse=(squared / n) ** 0.5)


class PublishedFile(BlobRef, frozen=True, kw_only=True):
    """A file of a published run; `role` is what it is for."""

    name: str
    content_type: str
    role: str


class Score(Record, frozen=True, kw_only=True):
    """The figures of one network of a run that tables show.

    `baseline` is the best one and `gain` how far `rmse` is below it; `seconds` is of the training.
    `warm` and `cold` are of ratings that the network predicts and of those whose user or item it does
    not know, if there are any of these.
    """

    network: str
    rmse: float
    rmse_interval: Interval | None = None
    mae: float
    valid_rmse: float | None = None
    baseline: str
    baseline_rmse: float
    gain: Interval | None = None
    best_epoch: AtLeastOne
    n_epochs: AtLeastOne
    seconds: float
    device: str
    warm: Group | None = None
    cold: Group | None = None


class Report(Record, frozen=True, kw_only=True):
    """Everything that a run found out, from which its pages are drawn.

    `best` is chosen on the validation part, on the test part only if there is no other.
    """

    plan: RunPlan
    profile: Profile
    split: SplitRef
    results: tuple[TrainResult, ...]
    evaluations: tuple[Evaluation, ...]
    best: str


class ReportRef(Record, frozen=True, kw_only=True):
    """The pages of a run, and what they show in figures."""

    run_id: str
    best: str
    scores: tuple[Score, ...]
    pages: tuple[PublishedFile, ...]


class RunRow(Record, frozen=True, kw_only=True):
    """What lists of runs show of a published run."""

    run_id: str
    dag_run: DagRun | None = None
    published_at: datetime
    code_version: str
    dataset: DatasetRef
    split_fingerprint: str
    best: str
    scores: tuple[Score, ...]


class Manifest(RunRow, frozen=True, kw_only=True):
    """Everything that a run published; it is put last, and its presence means "published".

    A higher `schema_version` is one that older code must not read: a field means something else.
    """

    schema_version: int
    files: tuple[PublishedFile, ...]
