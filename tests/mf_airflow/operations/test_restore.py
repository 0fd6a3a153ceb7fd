from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mf_airflow.embedded.seaweedfs import S3Server
from mf_airflow.operations import backup, dump, restore
from mftasks import published
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.settings import Settings
from mftasks.store import Store
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, published_run
from tests.mf_airflow.operations.deployment import Database, Deployments

PEOPLE = ([1, 2, 59], [3, 4, 39])


@pytest.fixture
def s3_store(s3_workspace: Workspace, tmp_path: Path) -> Store:
    """Give a store in a real S3 server that holds a published run and a champion."""
    local = published_run(tmp_path / "run").store
    types = {"json": "application/json", "html": "text/html; charset=utf-8"}
    types["csv"] = "text/csv; charset=utf-8"
    for key in local.list(""):
        content_type = types.get(key.rpartition(".")[2], "application/octet-stream")
        s3_workspace.store.put(key, local.get(key), content_type)
    champion = json.dumps({"run_id": RUN}).encode()
    s3_workspace.store.put("champions/films.json", champion, "application/json")
    return s3_workspace.store


def test_what_was_wiped_is_restored_and_predicts_the_same(
    deployments: Deployments, s3_store: Store, s3_server: S3Server, tmp_path: Path
) -> None:
    source, target = deployments.copy("source"), deployments.empty("target")
    before = _predictions(s3_store, tmp_path / "before")
    keys, types = s3_store.list(""), _content_types(s3_store, s3_server)
    store = s3_server.environment() | {"MF_STORE": s3_store.uri}

    output = source.operate("backup", str(tmp_path / "backup"), **store)
    assert f"{len(keys)} objects" in output
    s3_store.delete_many(keys)
    assert s3_store.list("") == []
    assert _runs_or_none(target) is None

    output = target.operate("restore", str(tmp_path / "backup"), **store)
    assert "Fernet" not in output
    assert s3_store.list("") == keys
    assert _content_types(s3_store, s3_server) == types
    assert _predictions(s3_store, tmp_path / "after") == before
    for query in ("SELECT * FROM dag_run ORDER BY id", "SELECT * FROM connection"):
        assert target.ask(query) == source.ask(query) != []
    code, output = target.run("-m", "airflow", "db", "check-migrations")
    assert code == 0, output


def _predictions(store: Store, cache: Path) -> list[float]:
    given = Settings(store=store.uri, s3_endpoint=getattr(store, "endpoint", None), cache=cache)
    return published.open_run(Workspace(given)).bundle().predict(*PEOPLE).tolist()


def _content_types(store: Store, server: S3Server) -> dict[str, str]:
    client, prefix = server.client(), store.uri.partition("tests/")[2]
    return {
        key: client.head_object(Bucket="tests", Key=f"{prefix}/{key}")["ContentType"]
        for key in store.list("")
    }


def _runs_or_none(database: Database) -> list[str] | None:
    return None if dump.is_empty(database.url) else database.runs()


def restore_to(folder: Path, target: Database, store: Store, **options: bool) -> backup.Backup:
    return restore.restore(folder, database=target.url, store=store, fernet_keys="", **options)


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("backup.json", Path.unlink, r"no complete backup: backup\.json, which is written last"),
        ("backup.json", truncate, r"backup\.json is not the list of a backup"),
        *(
            (name, damage, rf"{Path(name).name} (has sha256|is not there)")
            for name in ("database.dump", f"store/runs/{RUN}/plan.json")
            for damage in (Path.unlink, truncate, alter)
        ),
    ],
)
def test_a_backup_that_was_damaged_is_refused_and_nothing_is_touched(
    backed_up: Path,
    target: Database,
    fresh: Store,
    name: str,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    damage(backed_up / name)
    with pytest.raises((ChecksumMismatch, MissingRecord, InvalidDataset), match=message):
        restore_to(backed_up, target, fresh)
    assert dump.is_empty(target.url)
    assert fresh.list("") == []


def test_a_backup_whose_list_leaves_the_folder_is_refused(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    listed = (backed_up / "backup.json").read_text()
    (backed_up / "backup.json").write_text(listed.replace("champions/", "../champions/"))
    with pytest.raises(InvalidDataset, match="leaves its folder"):
        restore_to(backed_up, target, fresh)


def test_what_is_not_empty_is_refused_unless_it_may_be_overwritten(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    target.ask("CREATE TABLE mine AS SELECT 1 AS one")
    with pytest.raises(InvalidPlan, match="database is not empty; --overwrite"):
        restore_to(backed_up, target, fresh)
    target.ask("DROP TABLE mine")
    fresh.put("runs/later/manifest.json", b"{}", "application/json")
    with pytest.raises(InvalidPlan, match="fresh is not empty; --overwrite"):
        restore_to(backed_up, target, fresh)
    fresh.put(f"runs/{RUN}/plan.json", b"another", "application/json")
    target.ask("CREATE TABLE mine AS SELECT 1 AS one")

    made = restore_to(backed_up, target, fresh, overwrite=True)
    assert fresh.list("") == sorted(ref.key for ref in made.objects)
    assert fresh.get(f"runs/{RUN}/plan.json") != b"another"
    assert target.runs() == ["kept", "old"]
    assert target.ask("SELECT tablename FROM pg_tables WHERE tablename = 'mine'") == []
    assert restore_to(backed_up, target, fresh, overwrite=True) == made


def test_what_was_restored_is_backed_up_and_restored_again(
    backed_up: Path, target: Database, fresh: Store, tmp_path: Path
) -> None:
    target.ask("CREATE TABLE mine AS SELECT 1 AS one")
    first = restore_to(backed_up, target, fresh, overwrite=True)
    folder = tmp_path / "second"
    second = backup.backup(folder, database=target.url, store=fresh, fernet_keys="")
    assert sorted(second.objects, key=str) == sorted(first.objects, key=str)
    target.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    fresh.delete_many(fresh.list(""))
    assert restore_to(folder, target, fresh) == second
    assert target.runs() == ["kept", "old"]


def test_what_a_server_puts_to_see_whether_it_works_is_not_in_the_way(
    backed_up: Path, target: Database, s3_workspace: Workspace
) -> None:
    s3_workspace.store.put(".ready", b"ready", "text/plain")
    restore_to(backed_up, target, s3_workspace.store)
    assert ".ready" in s3_workspace.store.list("")


def test_nothing_is_restored_while_somebody_uses_the_database(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    with (
        contextlib.closing(target.connect()),
        pytest.raises(InvalidPlan, match="1 others use the database"),
    ):
        restore_to(backed_up, target, fresh, overwrite=True)
    assert fresh.list("") == []


def test_another_fernet_key_is_logged(
    backed_up: Path, target: Database, fresh: Store, caplog: pytest.LogCaptureFixture
) -> None:
    restore_to(backed_up, target, fresh)
    assert "another Fernet key" in caplog.text
