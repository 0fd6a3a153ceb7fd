from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from mf_airflow.embedded.seaweedfs import S3Server
from mf_airflow.operations import backup, dump, restore
from mftasks import published
from mftasks.errors import ChecksumMismatch, InvalidDataset, InvalidPlan, MissingRecord
from mftasks.settings import Settings
from mftasks.store import Store, open_store
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

    said = source.operate("backup", str(tmp_path / "backup"), **store)
    assert f"{len(keys)} objects" in said
    s3_store.delete_many(keys)
    assert s3_store.list("") == []
    assert _runs_or_none(target) is None

    said = target.operate("restore", str(tmp_path / "backup"), **store)
    assert "Fernet" not in said
    assert s3_store.list("") == keys
    assert _content_types(s3_store, s3_server) == types
    assert _predictions(s3_store, tmp_path / "after") == before
    for query in ("SELECT * FROM dag_run ORDER BY id", "SELECT * FROM connection"):
        assert target.ask(query) == source.ask(query) != []
    code, said = target.run("-m", "airflow", "db", "check-migrations")
    assert code == 0, said


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


@pytest.fixture
def backed_up(deployments: Deployments, tmp_path: Path) -> Path:
    """Give the folder of a backup of a published run in a store that is a folder."""
    store = published_run(tmp_path / "run").store
    store.put("champions/films.json", json.dumps({"run_id": RUN}).encode(), "application/json")
    source = deployments.copy()
    made = backup.backup(
        tmp_path / "backup", database=source.url, store=store, fernet_keys=deployments.fernet_key
    )
    deployments.drop(source)
    assert made.store == store.uri
    return tmp_path / "backup"


@pytest.fixture
def fresh(tmp_path: Path) -> Store:
    """Give an empty store."""
    return open_store((tmp_path / "fresh").as_uri())


def restored(folder: Path, target: Database, store: Store, **options: bool) -> backup.Backup:
    return restore.restore(folder, database=target.url, store=store, fernet_keys="", **options)


def test_a_backup_is_a_store_itself(backed_up: Path, tmp_path: Path) -> None:
    store = open_store((backed_up / "store").as_uri())
    assert len(_predictions(store, tmp_path / "cache")) == len(PEOPLE[0])
    assert backed_up.stat().st_mode & 0o777 == 0o700


def test_half_a_backup_is_refused_and_nothing_is_touched(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    (backed_up / "backup.json").unlink()
    with pytest.raises(MissingRecord, match=r"no whole backup: backup\.json"):
        restored(backed_up, target, fresh)
    assert dump.is_empty(target.url)
    assert fresh.list("") == []


@pytest.mark.parametrize("name", ["database.dump", f"store/runs/{RUN}/plan.json"])
@pytest.mark.parametrize("how", ["altered", "truncated", "gone"])
def test_a_backup_that_was_altered_is_refused(
    backed_up: Path, target: Database, fresh: Store, name: str, how: str
) -> None:
    path = backed_up / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] if how == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    if how == "gone":
        path.unlink()
    with pytest.raises((ChecksumMismatch, MissingRecord), match=Path(name).name):
        restored(backed_up, target, fresh)
    assert dump.is_empty(target.url)
    assert fresh.list("") == []


def test_a_backup_whose_list_leaves_the_folder_is_refused(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    listed = (backed_up / "backup.json").read_text()
    (backed_up / "backup.json").write_text(listed.replace("champions/", "../champions/"))
    with pytest.raises(InvalidDataset, match="leaves its folder"):
        restored(backed_up, target, fresh)


def test_what_is_not_empty_is_refused_unless_it_may_be_overwritten(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    target.ask("CREATE TABLE mine AS SELECT 1 AS one")
    with pytest.raises(InvalidPlan, match="database is not empty; --overwrite"):
        restored(backed_up, target, fresh)
    target.ask("DROP TABLE mine")
    fresh.put("runs/later/manifest.json", b"{}", "application/json")
    with pytest.raises(InvalidPlan, match="fresh is not empty; --overwrite"):
        restored(backed_up, target, fresh)
    fresh.put(f"runs/{RUN}/plan.json", b"another", "application/json")
    target.ask("CREATE TABLE mine AS SELECT 1 AS one")

    made = restored(backed_up, target, fresh, overwrite=True)
    assert fresh.list("") == sorted(ref.key for ref in made.objects)
    assert fresh.get(f"runs/{RUN}/plan.json") != b"another"
    assert target.runs() == ["kept", "old"]
    assert target.ask("SELECT tablename FROM pg_tables WHERE tablename = 'mine'") == []
    assert restored(backed_up, target, fresh, overwrite=True) == made


def test_what_was_restored_is_backed_up_and_restored_again(
    backed_up: Path, target: Database, fresh: Store, tmp_path: Path
) -> None:
    target.ask("CREATE TABLE mine AS SELECT 1 AS one")
    first = restored(backed_up, target, fresh, overwrite=True)
    folder = tmp_path / "second"
    second = backup.backup(folder, database=target.url, store=fresh, fernet_keys="")
    assert sorted(second.objects, key=str) == sorted(first.objects, key=str)
    target.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    fresh.delete_many(fresh.list(""))
    assert restored(folder, target, fresh) == second
    assert target.runs() == ["kept", "old"]


def test_what_a_server_puts_to_see_whether_it_works_is_not_in_the_way(
    backed_up: Path, target: Database, s3_workspace: Workspace
) -> None:
    s3_workspace.store.put(".ready", b"ready", "text/plain")
    restored(backed_up, target, s3_workspace.store)
    assert ".ready" in s3_workspace.store.list("")


def test_nothing_is_restored_while_somebody_uses_the_database(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    with (
        contextlib.closing(target.connect()),
        pytest.raises(InvalidPlan, match="1 others use the database"),
    ):
        restored(backed_up, target, fresh, overwrite=True)
    assert fresh.list("") == []


def test_another_fernet_key_is_told_of(
    backed_up: Path, target: Database, fresh: Store, caplog: pytest.LogCaptureFixture
) -> None:
    restored(backed_up, target, fresh)
    assert "another Fernet key" in caplog.text


def test_a_folder_that_holds_something_is_no_place_for_a_backup(
    backed_up: Path, target: Database, fresh: Store
) -> None:
    with pytest.raises(InvalidPlan, match="is not empty; name a new folder"):
        backup.backup(backed_up, database=target.url, store=fresh, fernet_keys="")


def test_a_store_whose_published_bytes_have_changed_is_not_backed_up(
    target: Database, tmp_path: Path
) -> None:
    store = published_run(tmp_path / "run").store
    store.put(f"runs/{RUN}/report.html", b"defaced", "text/html")
    with pytest.raises(ChecksumMismatch, match=r"report\.html has sha256"):
        backup.backup(tmp_path / "backup", database=target.url, store=store, fernet_keys="")
    assert not (tmp_path / "backup/backup.json").exists()


def test_what_goes_while_it_is_copied_is_left_out_and_no_manifest_without_its_files(
    target: Database, tmp_path: Path
) -> None:
    store = published_run(tmp_path / "run").store

    class Pruned:
        """Be a store from which the run is removed, manifest first, once copying has begun."""

        uri = store.uri

        def list(self, prefix: str) -> list[str]:
            return store.list(prefix)

        def download(self, key: str, path: Path) -> None:
            if "/linear/" in key:
                store.delete(f"runs/{RUN}/manifest.json")
                store.delete_many(store.list(f"runs/{RUN}/linear/"))
            store.download(key, path)

    made = backup.backup(tmp_path / "backup", database=target.url, store=Pruned(), fernet_keys="")
    keys = [ref.key for ref in made.objects]
    assert f"runs/{RUN}/plan.json" in keys
    assert f"runs/{RUN}/manifest.json" not in keys
    assert not any("/linear/" in key for key in keys)
    assert backup.verified(tmp_path / "backup") == made


def test_what_names_others_is_put_after_them() -> None:
    keys = ["champions/a.json", "datasets/x/r.csv", "runs/a/manifest.json", "runs/b/plan.json"]
    assert backup.by_rank(keys) == [
        *("datasets/x/r.csv", "runs/b/plan.json", "runs/a/manifest.json", "champions/a.json")
    ]
