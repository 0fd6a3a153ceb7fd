from __future__ import annotations

from pathlib import Path

import pytest

from mf_airflow.operations import backup
from mftasks import published
from mftasks.errors import ChecksumMismatch, InvalidPlan
from mftasks.settings import Settings
from mftasks.store import Store
from mftasks.store.workspace import Workspace
from tests.finished_run import RUN, published_run
from tests.mf_airflow.operations.deployment import Database


def test_a_backup_is_a_store_itself(backed_up: Path, tmp_path: Path) -> None:
    given = Settings(
        store=(backed_up / "store").as_uri(), s3_endpoint=None, cache=tmp_path / "cache"
    )
    assert len(published.open_run(Workspace(given)).bundle().predict([1, 59], [3, 39])) == 2
    assert backed_up.stat().st_mode & 0o777 == 0o700


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


class Pruned:
    """A store from which the run is removed, manifest first, once copying has begun."""

    def __init__(self, store: Store) -> None:
        self.uri, self.list, self.store = store.uri, store.list, store

    def download(self, key: str, path: Path) -> None:
        if "/linear/" in key:
            self.store.delete(f"runs/{RUN}/manifest.json")
            self.store.delete_many(self.list(f"runs/{RUN}/linear/"))
        self.store.download(key, path)


def test_what_goes_while_it_is_copied_is_left_out_and_no_manifest_without_its_files(
    target: Database, tmp_path: Path
) -> None:
    store = Pruned(published_run(tmp_path / "run").store)
    made = backup.backup(tmp_path / "backup", database=target.url, store=store, fernet_keys="")
    keys = [ref.key for ref in made.objects]
    assert f"runs/{RUN}/plan.json" in keys
    assert f"runs/{RUN}/manifest.json" not in keys
    assert not any("/linear/" in key for key in keys)
    assert backup.verify_backup(tmp_path / "backup") == made


@pytest.mark.parametrize("manifest", [b"rubbish", b'{"schema_version": 99}'])
def test_a_run_whose_manifest_cannot_be_read_is_backed_up_with_a_warning(
    target: Database,
    fresh: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    manifest: bytes,
) -> None:
    fresh.put("runs/odd/manifest.json", manifest, "application/json")
    made = backup.backup(tmp_path / "backup", database=target.url, store=fresh, fernet_keys="")
    assert [ref.key for ref in made.objects] == ["runs/odd/manifest.json"]
    assert "copied without a check: runs/odd/manifest.json" in caplog.text


def test_what_names_others_is_put_after_them() -> None:
    keys = ["champions/a.json", "datasets/x/r.csv", "runs/a/manifest.json", "runs/b/plan.json"]
    assert backup.sort_by_rank(keys) == [
        *("datasets/x/r.csv", "runs/b/plan.json", "runs/a/manifest.json", "champions/a.json")
    ]
