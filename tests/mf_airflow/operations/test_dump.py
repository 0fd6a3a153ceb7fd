from __future__ import annotations

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


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({}, None),
        ({"a": 15}, None),
        ({"a": 15, "b": 16}, "b"),
        ({"a": 18, "b": 17, "c": 15}, "b"),
    ],
)
def test_the_tool_that_fits_the_server_best_is_taken(
    target: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    there: dict[str, int],
    chosen: str | None,
) -> None:
    for name, version in there.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pg_dump").write_text(
            f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.3'"
        )
        (tmp_path / name / "pg_dump").chmod(0o755)
    monkeypatch.setattr(dump, "_folders", lambda: [str(tmp_path / name) for name in there])
    if chosen:
        assert dump._tool(target.url, "pg_dump") == str(tmp_path / chosen / "pg_dump")
    else:
        with pytest.raises(InvalidPlan, match=r"pg_dump .*PostgreSQL 16.* install"):
            dump._tool(target.url, "pg_dump")
