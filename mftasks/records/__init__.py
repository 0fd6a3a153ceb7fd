"""The records that steps hand to each other: frozen, typed, validated on reading, stored as JSON.

A record is what a step reads and writes; it never holds data, only references (`…Ref`) to bytes in
the store together with their sha256. A record outlives the code that wrote it: unknown fields are
ignored on reading, and a field that is added has a default.
"""

from __future__ import annotations

from mftasks.records.data import Check, DatasetRef, Histogram, PartSize, Profile, Severity, SplitRef
from mftasks.records.plan import (
    MOMENT,
    DagRun,
    DeviceKind,
    Optimizer,
    RunPlan,
    Scalar,
    SplitConfig,
    Strategy,
    TrainConfig,
    format_scalar,
)
from mftasks.records.reading import Column, FileFormat, Layout, ReadConfig
from mftasks.records.record import AtLeastOne, BlobRef, Count, Fraction, NotNegative, Record, Width
from mftasks.records.results import (
    KNOWN,
    Evaluation,
    Group,
    Interval,
    Manifest,
    PublishedFile,
    Report,
    ReportRef,
    RunRow,
    Score,
)
from mftasks.records.training import BundleRef, EpochMetrics, GpuUse, Layer, TrainResult
