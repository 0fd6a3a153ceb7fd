from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mf_airflow.embedded.environment import ROOT
from mf_airflow.embedded.seaweedfs import S3Server, SeaweedFS
from mf_airflow.operations import dump, rotation
from mftasks.errors import InvalidPlan
from tests.mf_airflow.operations.deployment import ENCRYPTED, Database, Deployments

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


@pytest.fixture
def own_secrets(deployments: Deployments, tmp_path: Path) -> Path:
    """Give the folder of secrets that `make env` makes, with the Fernet key of the deployments."""
    subprocess.run([ROOT / "tools/env", tmp_path], check=True, capture_output=True)
    folder = tmp_path / ".secrets"
    (folder / "fernet_key").unlink()
    (folder / "fernet_key").write_text(deployments.fernet_key)
    return folder


@pytest.fixture
def database(deployments: Deployments, own_secrets: Path) -> Database:
    """Give a copy of the database whose owner has the password of the secrets."""
    password = (own_secrets / "postgres_password").read_text()
    return deployments.owned_by(f"user_{uuid.uuid4().hex}", password)


@pytest.fixture
def airflow_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Note what Airflow would be asked to do instead of asking it."""
    calls: list[tuple] = []
    monkeypatch.setattr(
        rotation,
        "_run",
        lambda variables, *command, written="": calls.append((variables, command, written)),
    )
    return calls


def read_all(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def rotate(folder: Path, database: Database, **options: bool) -> tuple[str, ...]:
    given = {"own_s3": True, "own_users": True} | options
    return rotation.rotate(folder, database=database.url, **given)


def test_after_a_rotation_the_old_secrets_open_nothing_and_what_is_stored_is_readable(
    database: Database, own_secrets: Path
) -> None:
    old = read_all(own_secrets)
    assert database.ask("SELECT password FROM connection") != [("opened-again",)]

    output = database.operate("rotate", str(own_secrets), COMPOSE_PROFILES="gpu,seaweedfs")
    new = read_all(own_secrets)
    assert set(new) == set(old)
    assert {name for name in new if new[name] == old[name]} == {*rotation.UNCHANGED}
    replaced = {name: old[name] for name in old if old[name] != new[name]}
    assert read_all(own_secrets / ".old") == replaced
    assert not any(text in output for text in (*old.values(), *new.values()))

    with pytest.raises(dump.DatabaseFailed, match="password authentication failed"):
        dump.is_empty(database.url)
    after = replace(database, password=new["postgres_password"])
    assert after.connection(new["fernet_key"]) == ENCRYPTED
    assert after.connection(old["fernet_key"]) is None


def test_a_rotation_knows_every_secret_that_a_deployment_has(own_secrets: Path) -> None:
    replaced = {*rotation.TOKENS, rotation.FERNET, *rotation.S3_KEYS}
    present = read_all(own_secrets)
    assert replaced | {*rotation.UNCHANGED} == set(present)
    for name in replaced:
        drawn = rotation._draw_secret(name)
        assert len(drawn) == len(present[name]), name
        assert drawn != rotation._draw_secret(name)


def test_the_first_user_gets_the_new_password_by_a_way_that_nobody_sees(
    database: Database, own_secrets: Path, airflow_calls: list[tuple]
) -> None:
    rotate(own_secrets, database)
    [(variables, fernet, _), (_, command, written)] = airflow_calls
    new, old = read_all(own_secrets), read_all(own_secrets / ".old")
    assert fernet == ("-m", "airflow", "rotate-fernet-key")
    assert variables["AIRFLOW__CORE__FERNET_KEY"] == f"{new['fernet_key']},{old['fernet_key']}"
    assert written == new["admin_password"]
    assert new["admin_password"] not in " ".join(command)


def test_the_first_user_logs_in_with_the_new_password_alone(
    database: Database, own_secrets: Path
) -> None:
    pytest.importorskip("airflow.providers.fab", reason="the extra `cluster` is not installed")
    from werkzeug.security import check_password_hash

    old = read_all(own_secrets)
    fab = {"AIRFLOW__CORE__AUTH_MANAGER": FAB}
    password = f"--admin-password-file={own_secrets / 'admin_password'}"
    code, output = database.run("-m", "mf_airflow.operations.deploy", "init", password, **fab)
    assert code == 0, output

    database.operate("rotate", str(own_secrets), **fab)
    new = read_all(own_secrets)
    after = replace(database, password=new["postgres_password"])
    [(stored,)] = after.ask("SELECT password FROM ab_user WHERE username = 'admin'")
    assert check_password_hash(stored, new["admin_password"])
    assert not check_password_hash(stored, old["admin_password"])


def test_keys_of_an_s3_server_that_is_not_ours_stay(
    database: Database, own_secrets: Path, airflow_calls: list[tuple]
) -> None:
    old = read_all(own_secrets)
    names = rotate(own_secrets, database, own_s3=False, own_users=False)
    assert not set(names) & set(rotation.S3_KEYS)
    assert all(read_all(own_secrets)[name] == old[name] for name in rotation.S3_KEYS)
    assert len(airflow_calls) == 1


@pytest.mark.parametrize(
    ("step", "n_done"), [("_run", 0), ("_run", 1), ("replace", 0), ("replace", 4)]
)
def test_a_rotation_that_was_interrupted_continues_with_what_it_had_drawn(
    database: Database,
    own_secrets: Path,
    airflow_calls: list[tuple],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    n_done: int,
) -> None:
    old = read_all(own_secrets)
    owner = rotation if step == "_run" else Path
    do, left = getattr(owner, step), iter(range(n_done))

    def interrupt(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return do(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            rotate(own_secrets, database)
    drawn = read_all(own_secrets) | read_all(own_secrets / ".new")

    rotate(own_secrets, database)
    assert read_all(own_secrets) == drawn
    unchanged = {name: old[name] for name in rotation.UNCHANGED}
    assert read_all(own_secrets / ".old") | unchanged == old
    assert not (own_secrets / ".new").exists()
    assert replace(database, password=drawn["postgres_password"]).ask("SELECT 1") == [(1,)]


def test_nothing_is_rotated_while_somebody_uses_the_database(
    database: Database, own_secrets: Path, airflow_calls: list[tuple]
) -> None:
    with (
        contextlib.closing(database.connect()),
        pytest.raises(InvalidPlan, match="1 others use the database"),
    ):
        rotate(own_secrets, database)
    assert [path.name for path in own_secrets.iterdir() if path.is_dir()] == []
    assert airflow_calls == []
    assert database.ask("SELECT 1") == [(1,)]


def test_secrets_that_the_database_does_not_take_are_refused(
    database: Database, own_secrets: Path
) -> None:
    (own_secrets / "postgres_password").unlink()
    (own_secrets / "postgres_password").write_text("another-password")
    with pytest.raises(dump.DatabaseFailed, match="password authentication failed"):
        rotate(own_secrets, database)
    assert not (own_secrets / ".new").exists()


def test_a_folder_without_secrets_is_refused(tmp_path: Path, target: Database) -> None:
    with pytest.raises(InvalidPlan, match="has no admin_password; name the folder"):
        rotate(tmp_path, target)
    assert list(tmp_path.iterdir()) == []


def test_the_output_of_a_command_of_airflow_that_fails_is_shown() -> None:
    with pytest.raises(rotation.RotationFailed, match=r"(?s)failed; rotate again.*no such luck"):
        rotation._run({}, "-c", "raise SystemExit('no such luck')")


def test_seaweedfs_takes_the_new_keys_and_refuses_the_old_ones(
    database: Database,
    own_secrets: Path,
    airflow_calls: list[tuple],
    tmp_path: Path,
) -> None:
    rotate(own_secrets, database)
    store = SeaweedFS(tmp_path / "seaweedfs", bucket="movielens")
    (tmp_path / "seaweedfs/s3.json").write_text(_identities(own_secrets, tmp_path))
    store.server = _as("s3_admin", own_secrets, store.server)
    with contextlib.ExitStack() as stopped_at_exit:
        stopped_at_exit.callback(store.stop)
        store.start()
        store.wait()
        worker = _as("s3_worker", own_secrets, store.server).client()
        worker.put_object(Bucket="movielens", Key="runs/x", Body=b"x")
        reader = _as("s3_ui", own_secrets, store.server).client()
        assert reader.get_object(Bucket="movielens", Key="runs/x")["Body"].read() == b"x"
        with pytest.raises(reader.exceptions.ClientError, match="AccessDenied"):
            reader.put_object(Bucket="movielens", Key="runs/y", Body=b"y")
        for name in rotation.S3_KEYS:
            stranger = _as(name, own_secrets / ".old", store.server).client()
            with pytest.raises(stranger.exceptions.ClientError, match="InvalidAccessKeyId"):
                stranger.list_objects_v2(Bucket="movielens")


def _identities(folder: Path, tmp_path: Path) -> str:
    """Return the identities that the server's own start script makes from a folder of secrets."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/weed").symlink_to("/bin/true")
    subprocess.run(
        ["sh", ROOT / "docker/seaweedfs/start", tmp_path, folder, tmp_path],
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "MF_STORE": "s3://movielens"},
        check=True,
    )
    return (tmp_path / "s3.json").read_text()


def _as(name: str, folder: Path, server: S3Server) -> S3Server:
    lines = (line.partition(" = ") for line in (folder / name).read_text().splitlines())
    keys = {field: value for field, _, value in lines}
    return S3Server(
        endpoint=server.endpoint,
        access_key=keys["aws_access_key_id"],
        secret_key=keys["aws_secret_access_key"],
        bucket=server.bucket,
    )
