"""Publish a run: check that every file of it is whole in the store, then put the manifest.

python -m mftasks publish --run-id try-1
"""

from __future__ import annotations

import csv
import io
import logging
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mftasks import progress, reading
from mftasks.published import index, rated
from mftasks.published.manifest import SCHEMA_VERSION, list_file
from mftasks.records import (
    EpochMetrics,
    Manifest,
    Profile,
    PublishedFile,
    ReportRef,
    RunPlan,
    SplitRef,
    TrainResult,
)
from mftasks.store import keys
from mftasks.store.blobs import Data, refer_to, verify
from mftasks.store.workspace import BINARY, JSON, Workspace

if TYPE_CHECKING:
    from mftasks.progress import OnTick

log = logging.getLogger(__name__)

RECORDS = ("plan.json", "download.json", "profile.json", "split.json", "report.json")
CSV = "text/csv; charset=utf-8"


def publish(workspace: Workspace, run_id: str, *, on_tick: OnTick = progress.silent) -> Manifest:
    """Put the manifest of a run, and its row in the index; return the manifest.

    A run that is published already is verified again and stays as it is. Checkpoints are removed:
    nothing resumes a published run. Raises `ChecksumMismatch` if the store holds other bytes than
    the steps put there, and `MissingRecord` if it lacks some.
    """
    key = keys.run(run_id, keys.MANIFEST)
    manifest = workspace.find(key, Manifest)
    if manifest is None:
        gathered = _gather(workspace, run_id)
        manifest = workspace.find(key, Manifest) or gathered  # another attempt may have ended
    _verify(workspace, manifest.files, on_tick)
    log.info("publish: run %s is whole, %d files", run_id, len(manifest.files))
    manifest = workspace.write(key, manifest)
    index.put(workspace, manifest)
    index.repair(workspace)
    _remove_checkpoints(workspace, manifest)
    return manifest


def _gather(workspace: Workspace, run_id: str) -> Manifest:
    """Put the files that only a published run has, and return a manifest that lists them all."""
    report = workspace.read(keys.run(run_id, "report.json"), ReportRef)
    plan = workspace.read(keys.run(run_id, "plan.json"), RunPlan)
    profile = workspace.read(keys.run(run_id, "profile.json"), Profile)
    split = workspace.read(keys.run(run_id, "split.json"), SplitRef)
    files = _Files(workspace, run_id)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        dag_run=plan.dag_run,
        published_at=datetime.now(UTC),
        code_version=plan.code_version,
        dataset=profile.dataset,
        split_fingerprint=split.fingerprint,
        best=report.best,
        scores=report.scores,
        files=(
            *report.pages,
            *(files.list_record(name) for name in RECORDS),
            *files.put_data(profile, plan),
            *(file for score in report.scores for file in files.put_network(score.network)),
        ),
    )


class _Files:
    """The files of one run.

    Until its manifest is there, a file that an earlier try put may be replaced: another version of
    the code may have written other bytes.
    """

    def __init__(self, workspace: Workspace, run_id: str) -> None:
        self._workspace = workspace
        self._run_id = run_id

    def list_record(self, name: str) -> PublishedFile:
        key = keys.run(self._run_id, name)
        return list_file(name, refer_to(key, self._workspace.store.get(key)), JSON, "record")

    def put_data(self, profile: Profile, plan: RunPlan) -> Iterator[PublishedFile]:
        """Put the items' titles and what each user has rated: a run is whole without its data."""
        if profile.dataset.titles is not None:
            titles = self._workspace.fetch(profile.dataset.titles)
            yield self._put("titles.json", titles, JSON, "titles")
        loaded = reading.load_stored(self._workspace, profile.dataset, profile.layout, plan.reading)
        packed = rated.pack_rated(loaded.table, plan.split)
        yield self._put(rated.RATED, packed, BINARY, "rated")

    def put_network(self, network: str) -> Iterator[PublishedFile]:
        key = keys.network(self._run_id, network, "train.json")
        result = self._workspace.read(key, TrainResult)
        for name, blob in sorted(result.bundle.files.items()):
            content_type = JSON if name.endswith(".json") else BINARY
            yield list_file(f"{network}/bundle/{name}", blob, content_type, "bundle")
        for name in ("train.json", "evaluation.json"):
            yield self.list_record(f"{network}/{name}")
        yield self._put(f"{network}/history.csv", _to_csv(result), CSV, "history")

    def _put(self, name: str, data: Data, content_type: str, role: str) -> PublishedFile:
        store, key = self._workspace.store, keys.run(self._run_id, name)
        if not store.exists(keys.run(self._run_id, keys.MANIFEST)):
            store.put(key, data, content_type)
        return list_file(name, refer_to(key, data), content_type, role)


def _to_csv(result: TrainResult) -> bytes:
    """Return the history as CSV, one line per epoch; an absent validation RMSE is empty."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(EpochMetrics.__struct_fields__)
    lines.writerows(msgspec.structs.astuple(epoch) for epoch in result.history)
    return text.getvalue().encode()


def _verify(workspace: Workspace, files: tuple[PublishedFile, ...], on_tick: OnTick) -> None:
    """Read every file back from the store, not from the cache, and compare its sha256."""
    total, done = sum(file.n_bytes for file in files), 0
    with tempfile.TemporaryDirectory(prefix="publish-") as folder:
        path = Path(folder, "file")
        for file in files:
            workspace.store.download(file.key, path)
            verify(path, file.sha256, f"{workspace.store.uri}/{file.key}")
            done += file.n_bytes
            if file.n_bytes * 10 > total or done == total:
                on_tick(progress.Tick(work="publish", done=done, total=total, unit="bytes"))


def _remove_checkpoints(workspace: Workspace, manifest: Manifest) -> None:
    for score in manifest.scores:
        prefix = keys.network(manifest.run_id, score.network, "checkpoints/")
        workspace.store.delete_many(workspace.store.list(prefix))
