from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from rich.console import Console

from mf_airflow.embedded import results
from mf_airflow.embedded.environment import own_secrets
from mf_airflow.embedded.rest import Airflow
from mf_airflow.embedded.stack import Stack
from mftasks import published
from mftasks.published import index
from mftasks.published.manifest import read_manifest
from mftasks.records import DagRun
from mftasks.store import keys
from mftasks.store.workspace import JSON
from tests import finished_run
from tests.web import Answer, Web

MADE_FOR = DagRun(dag_id="films_mf", run_id="manual__2026-01-01T00:00:00+00:00")
PATH = f"/api/v2/dags/films_mf/dagRuns/{quote(MADE_FOR.run_id)}"


@pytest.fixture
def stack(tmp_path: Path, site: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Give a stack of one store, which is empty, and of Airflow's answers."""
    variables = {"MF_STORE": (tmp_path / "store").as_uri(), "MF_CACHE": str(tmp_path / "cache")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Airflow(site.base) as airflow:
        yield Stack(airflow, own_secrets(tmp_path), variables, ())


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def publish(stack: Stack, tmp_path: Path) -> None:
    """Publish a run, made for a run of a DAG."""
    finished_run.published_run(tmp_path)
    manifest = read_manifest(stack.workspace, finished_run.RUN)
    manifest = msgspec.structs.replace(manifest, dag_run=MADE_FOR)
    data = msgspec.json.encode(manifest)
    stack.workspace.store.put(keys.run(manifest.run_id, keys.MANIFEST), data, JSON)
    index.put(stack.workspace, manifest)


def test_each_run_that_is_published_is_copied_printed_and_noted_once(
    stack: Stack, site: Web, tmp_path: Path, output: Path
) -> None:
    site.serve(PATH, Answer(b'{"note": null}'))
    console = Console(file=io.StringIO(), width=140)
    runs = results.NewRuns(stack)
    runs.hand_out(output, console)
    assert not output.exists()
    publish(stack, tmp_path)
    runs.hand_out(output, console)
    runs.hand_out(output, console)
    manifest = published.open_folder(output / "latest").manifest
    assert console.file.getvalue().count(f"files: {output / finished_run.RUN}") == 1
    [body] = map(json.loads, site.bodies)
    assert body["note"].startswith("RMSE ")
    assert f"{manifest.best} is chosen" in body["note"]
    assert body["note"].endswith(f"Report: {output / finished_run.RUN}/report.html")


def test_a_run_that_was_published_before_is_handed_out_unless_it_was(
    stack: Stack, site: Web, tmp_path: Path, output: Path
) -> None:
    site.serve(PATH, Answer(b'{"note": "mine"}'))
    publish(stack, tmp_path)
    console = Console(file=io.StringIO(), width=140)
    results.NewRuns(stack).hand_out(output, console)
    printed = console.file.getvalue()
    assert "files: " in printed
    results.NewRuns(stack).hand_out(output, console)
    assert console.file.getvalue() == printed


def test_what_cannot_be_copied_is_reported_and_the_stack_goes_on(
    stack: Stack, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(stack, tmp_path)
    output.touch()
    results.NewRuns(stack).hand_out(output, Console(file=io.StringIO()))
    error = capsys.readouterr().err
    assert f"run {finished_run.RUN} is published, but cannot be copied to {output}" in error
