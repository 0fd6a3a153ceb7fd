"""Publish a run: see that every file of it is in the store and whole, then put the manifest.

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

from mftasks import progress
from mftasks.errors import ChecksumMismatch
from mftasks.published import rated
from mftasks.records import (
    BlobRef,
    EpochMetrics,
    Manifest,
    PublishedFile,
    Report,
    SplitRef,
    TrainResult,
)
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import BINARY, JSON, Workspace, network_key, run_key

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
RECORDS = ("plan.json", "download.json", "profile.json", "split.json", "report.json")
CSV = "text/csv; charset=utf-8"


def publish(
    workspace: Workspace, run_id: str, *, on_tick: progress.OnTick = progress.silent
) -> Manifest:
    """Put the manifest of a run, last, and return it.

    A published run is verified again and stays as it is; its trainings' checkpoints, which nobody needs
    any more, are removed. Raises `ChecksumMismatch` where the store
    holds other bytes than the run's steps put there, `MissingRecord` where it holds none.
    """
    key = run_key(run_id, "manifest.json")
    manifest = workspace.find(key, Manifest)
    if manifest is None:
        manifest = _manifest(workspace, workspace.read(run_key(run_id, "report.json"), Report))
    _verify(workspace, manifest.files, on_tick)
    log.info("publish: %d files of run %s are whole", len(manifest.files), run_id)
    manifest = workspace.write(key, manifest)
    _remove_checkpoints(workspace, manifest)
    return manifest


def _remove_checkpoints(workspace: Workspace, manifest: Manifest) -> None:
    for evaluation in manifest.evaluations:
        prefix = network_key(manifest.run_id, evaluation.network, "checkpoints/")
        for key in workspace.store.list(prefix):
            workspace.store.delete(key)


def _manifest(workspace: Workspace, report: Report) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=report.plan.run_id,
        published_at=datetime.now(UTC),
        code_version=report.plan.code_version,
        dataset=report.profile.dataset,
        split_fingerprint=report.split.fingerprint,
        files=tuple(_files(workspace, report)),
        evaluations=report.evaluations,
        best=report.best,
    )


def _files(workspace: Workspace, report: Report) -> Iterator[PublishedFile]:
    run_id = report.plan.run_id
    yield from report.files
    for name in RECORDS:
        yield _record(workspace, run_id, name)
    if report.profile.dataset.titles is not None:
        yield _titles(workspace, run_id, report.profile.dataset.titles)
    yield _rated(workspace, run_id, report.split)
    for result in report.results:
        yield from _files_of_network(workspace, run_id, result)


def _files_of_network(
    workspace: Workspace, run_id: str, result: TrainResult
) -> Iterator[PublishedFile]:
    network = result.config.network
    for name, blob in sorted(result.bundle.files.items()):
        content_type = JSON if name.endswith(".json") else BINARY
        yield _file(f"{network}/bundle/{name}", blob, content_type, "bundle")
    for name in ("train.json", "evaluation.json"):
        yield _record(workspace, run_id, f"{network}/{name}")
    name = f"{network}/history.csv"
    blob = workspace.put_blob(run_key(run_id, name), _history(result), CSV)
    yield _file(name, blob, CSV, "history")


def _record(workspace: Workspace, run_id: str, name: str) -> PublishedFile:
    key = run_key(run_id, name)
    data = workspace.store.get(key)
    return _file(name, BlobRef(key=key, sha256=sha256_of(data), n_bytes=len(data)), JSON, "record")


def _titles(workspace: Workspace, run_id: str, titles: BlobRef) -> PublishedFile:
    """Copy the items' titles into the run, so that a run is whole without its data set."""
    blob = workspace.put_blob(run_key(run_id, "titles.json"), workspace.fetch(titles), JSON)
    return _file("titles.json", blob, JSON, "titles")


def _rated(workspace: Workspace, run_id: str, split: SplitRef) -> PublishedFile:
    """Put what each user has rated, so that recommendations can leave it out."""
    from mftasks.data.arrays import read_part

    data = rated.to_rated(read_part(workspace.fetch(split.parts["train"])))
    blob = workspace.put_blob(run_key(run_id, rated.RATED), data)
    return _file(rated.RATED, blob, BINARY, "rated")


def _file(name: str, blob: BlobRef, content_type: str, role: str) -> PublishedFile:
    return PublishedFile(
        name=name,
        key=blob.key,
        sha256=blob.sha256,
        n_bytes=blob.n_bytes,
        content_type=content_type,
        role=role,
    )


def _history(result: TrainResult) -> bytes:
    """Return the history as CSV, an epoch a line; an absent validation RMSE is empty."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(EpochMetrics.__struct_fields__)
    lines.writerows(
        [getattr(epoch, field) for field in EpochMetrics.__struct_fields__]
        for epoch in result.history
    )
    return text.getvalue().encode()


def _verify(
    workspace: Workspace, files: tuple[PublishedFile, ...], on_tick: progress.OnTick
) -> None:
    """Read every file back from the store, not from the cache, and compare its sha256."""
    total, done = sum(file.n_bytes for file in files), 0
    with tempfile.TemporaryDirectory(prefix="publish-") as folder:
        path = Path(folder, "file")
        for file in files:
            workspace.store.download(file.key, path)
            if (found := sha256_of(path)) != file.sha256:
                raise ChecksumMismatch(
                    f"{workspace.store.uri}/{file.key} has sha256 {found}, "
                    f"but {file.sha256} was put there"
                )
            done += file.n_bytes
            if file.n_bytes * 10 > total or done == total:
                on_tick(progress.Tick(work="publish", done=done, total=total, unit="bytes"))
