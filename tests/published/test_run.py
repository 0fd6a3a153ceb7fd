from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from mftasks import published
from mftasks.data import catalog
from mftasks.errors import (
    InvalidDataset,
    InvalidPlan,
    MissingRecord,
    UnknownDataset,
    UnknownNetwork,
)
from mftasks.published.manifest import SCHEMA_VERSION
from mftasks.records import DagRun, Manifest
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, TITLES
from tests.published.manifests import on, put_manifest


def test_the_latest_run_is_the_one_that_was_published_last(
    finished: Workspace, manifest: Manifest
) -> None:
    later = manifest.published_at + timedelta(hours=1)
    put_manifest(finished, manifest, run_id="a-later-one", published_at=later)
    earlier = datetime(2020, 1, 1, tzinfo=UTC)
    put_manifest(finished, manifest, run_id="z-earlier-one", published_at=earlier)
    assert published.read_latest(finished).run_id == "a-later-one"


def test_with_several_data_sets_one_must_be_named(finished: Workspace, manifest: Manifest) -> None:
    other = catalog.identify("s3://shop/ratings.csv")
    later = manifest.published_at + timedelta(hours=1)
    put_manifest(
        finished, manifest, run_id="other", published_at=later, dataset=on(manifest, other)
    )
    with pytest.raises(InvalidPlan, match=rf"2 data sets; name one by --dataset: films, {other}"):
        published.open_run(finished)
    assert published.open_run(finished, dataset="films").manifest.run_id == RUN
    for name in (other, "s3://shop/ratings.csv"):
        assert published.open_run(finished, dataset=name).manifest.run_id == "other"
    with pytest.raises(UnknownDataset, match=r"'fims' is published; did you mean 'films'"):
        published.open_run(finished, dataset="fims")


@pytest.mark.parametrize("content", [{"schema_version": 99, "files": "other"}, "rubbish"])
def test_newer_runs_that_cannot_be_read_are_skipped_with_one_warning(
    finished: Workspace, manifest: Manifest, content: object, caplog
) -> None:
    for number in (1, 2):
        later = manifest.published_at + timedelta(hours=number)
        put_manifest(finished, manifest, run_id=f"new-{number}", published_at=later)
        key = keys.run(f"new-{number}", "manifest.json")
        finished.store.put(key, json.dumps(content).encode(), "application/json")
    assert published.open_run(finished).manifest == manifest
    [warning] = caplog.messages
    assert warning.startswith("2 newer runs are skipped; the last: ")
    assert "new-2/manifest.json" in warning


def test_a_manifest_of_a_newer_version_is_not_guessed_at(
    finished: Workspace, manifest: Manifest
) -> None:
    newer = msgspec.structs.replace(manifest, schema_version=SCHEMA_VERSION + 1)
    key = keys.run(RUN, "manifest.json")
    finished.store.put(key, msgspec.json.encode(newer), "application/json")
    with pytest.raises(InvalidDataset, match=r"has schema version 2, and this code reads up to 1"):
        published.open_run(finished, RUN)


def test_a_manifest_with_a_field_that_is_not_known_yet_is_read(
    finished: Workspace, manifest: Manifest
) -> None:
    key = keys.run(RUN, "manifest.json")
    richer = json.loads(finished.store.get(key)) | {"licence": "as MovieLens"}
    finished.store.put(key, json.dumps(richer).encode(), "application/json")
    assert published.open_run(finished, RUN).manifest == manifest


def test_a_store_without_runs_is_an_error(tmp_path: Path) -> None:
    from mftasks.settings import Settings

    empty = Workspace(Settings(store=(tmp_path / "none").as_uri(), cache=tmp_path / "cache"))
    with pytest.raises(MissingRecord, match="holds no published run; start one first"):
        published.open_run(empty)


@pytest.mark.parametrize("name", ["nightly", "../../etc", "manual__2026-11-26T02:04:55+00:00", ""])
def test_a_run_that_is_not_published_is_missed_and_the_newest_are_named(
    finished: Workspace, manifest: Manifest, name: str
) -> None:
    for day in range(1, 6):
        moment = manifest.published_at - timedelta(days=day)
        put_manifest(finished, manifest, run_id=f"day-{day}", published_at=moment)
    newest = f"{RUN}, day-1, day-2, day-3, day-4"
    sentence = f"holds no published run {name!r}; the newest: {newest}"
    with pytest.raises(MissingRecord, match=f"{re.escape(sentence)}$"):
        published.open_run(finished, name)


def test_a_run_is_found_by_what_airflow_calls_it(finished: Workspace, manifest: Manifest) -> None:
    named = "manual__2026-11-26T02:04:55.103520+00:00"
    put_manifest(finished, manifest, run_id="a-1", dag_run=DagRun(dag_id="films", run_id=named))
    assert published.open_run(finished, named).manifest.run_id == "a-1"
    put_manifest(finished, manifest, run_id="b-2", dag_run=DagRun(dag_id="books", run_id=named))
    with pytest.raises(InvalidPlan, match=r"2 runs are called 'manual__.*'; name one: b-2, a-1"):
        published.open_run(finished, named)


def test_the_best_network_predicts_unless_another_is_asked_for(finished: Workspace) -> None:
    run = published.open_run(finished)
    assert run.bundle().header.network == run.manifest.best
    assert run.bundle("mlp").header.network == "mlp"


def test_a_network_that_was_not_trained_is_refused_with_a_suggestion(finished: Workspace) -> None:
    with pytest.raises(UnknownNetwork, match="did you mean 'mlp'"):
        published.open_run(finished).bundle("mpl")


def test_titles_are_those_of_the_data_set(finished: Workspace) -> None:
    assert published.open_run(finished).titles() == TITLES


def test_a_data_set_may_have_no_titles(finished: Workspace, manifest: Manifest) -> None:
    files = tuple(file for file in manifest.files if file.name != "titles.json")
    put_manifest(finished, manifest, run_id="bare", files=files)
    assert published.open_run(finished, "bare").titles() == {}


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingRecord, match=r"holds no manifest\.json"):
        published.open_folder(tmp_path)


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(InvalidDataset, match="is not a manifest"):
        published.open_folder(tmp_path)
