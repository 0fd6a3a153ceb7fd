from __future__ import annotations

import os
from pathlib import Path

import pytest

from mf_airflow.operations import dump
from mftasks.errors import InvalidPlan
from tests.mf_airflow.operations.deployment import Database


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(dump.DatabaseFailed) as caught:
        dump.is_empty("postgresql+psycopg2://airflow:hidden-word@127.0.0.1:1/airflow")
    assert "127.0.0.1:1/airflow" in str(caught.value)
    assert "hidden-word" not in str(caught.value)
    with pytest.raises(InvalidPlan, match="sqlite"):
        dump.is_empty("sqlite:///x.db")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a pg_dump, the first one on PATH, that fails as that of an older PostgreSQL does."""
    program = tmp_path / "bin/pg_dump"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'aborting because of server version mismatch' >&2; exit 1")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_the_wheels_program_is_taken_whatever_else_is_installed(
    target: Database, stand_in: Path, tmp_path: Path
) -> None:
    dump.dump(target.url, tmp_path / "dump")
    assert (tmp_path / "dump").read_bytes().startswith(b"PGDMP")


def test_without_the_wheel_the_program_on_path_is_taken_and_its_error_shown(
    target: Database, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(dump.DatabaseFailed, match="pg_dump failed: aborting because of server"):
        dump.dump(target.url, tmp_path / "dump")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidPlan, match="pg_dump is not there; install"):
        dump.dump(target.url, tmp_path / "dump")
