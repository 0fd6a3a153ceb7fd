from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from mf_airflow.embedded.environment import ROOT
from mf_airflow.embedded.seaweedfs import S3Server, SeaweedFS
from mf_airflow.operations import dump, rotation
from mftasks.errors import InvalidPlan
from tests.mf_airflow.operations.deployment import ENCRYPTED, Database, Deployments

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


@pytest.fixture
def own_secrets(tmp_path: Path) -> Path:
    """Give the folder of secrets that `make env` makes."""
    (tmp_path / "env").mkdir()
    subprocess.run([ROOT / "tools/env", tmp_path / "env"], check=True, capture_output=True)
    return tmp_path / "env/.secrets"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def give(folder: Path, name: str, text: str) -> None:
    (folder / name).unlink()
    (folder / name).write_text(text)


def test_after_a_rotation_the_old_secrets_open_nothing_and_what_is_stored_is_readable(
    deployments: Deployments, own_secrets: Path
) -> None:
    give(own_secrets, "fernet_key", deployments.fernet_key)
    old = contents(own_secrets)
    database = deployments.owned_by("rotated", old["postgres_password"])
    assert database.ask("SELECT password FROM connection") != [("opened-again",)]

    said = database.operate("rotate", str(own_secrets), COMPOSE_PROFILES="gpu,seaweedfs")
    new = contents(own_secrets)
    assert set(new) == set(old)
    assert {name for name in new if new[name] == old[name]} == {*rotation.KEPT}
    assert contents(own_secrets / ".old") == {
        name: old[name] for name in old if old[name] != new[name]
    }
    assert not any(text in said for text in (*old.values(), *new.values()))

    with pytest.raises(dump.DatabaseFailed, match="password authentication failed"):
        dump.is_empty(database.url)
    after = Database(
        database.port, database.name, new["postgres_password"], database.variables, "rotated"
    )
    assert after.connection(new["fernet_key"]) == ENCRYPTED
    assert after.connection(old["fernet_key"]) is None


@pytest.fixture
def plain_rotation(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Note what Airflow would be asked to do instead of asking it."""
    asked: list[tuple] = []
    monkeypatch.setattr(
        rotation,
        "_run",
        lambda variables, *command, said="": asked.append((variables, command, said)),
    )
    return asked


def rotate(folder: Path, database: Database, **options: bool) -> tuple[str, ...]:
    given = {"own_s3": True, "own_users": True} | options
    return rotation.rotate(folder, database=database.url, **given)


def test_a_rotation_knows_every_secret_that_a_deployment_has(own_secrets: Path) -> None:
    drawn_anew = {*rotation.TOKENS, rotation.FERNET, *rotation.S3_KEYS}
    made = contents(own_secrets)
    assert drawn_anew | {*rotation.KEPT} == set(made)
    for name in drawn_anew:
        drawn = rotation._secret(name)
        assert len(drawn) == len(made[name]), name
        assert drawn != rotation._secret(name)


def test_the_first_user_gets_the_new_password_by_a_way_that_nobody_sees(
    deployments: Deployments, own_secrets: Path, plain_rotation: list[tuple]
) -> None:
    password = contents(own_secrets)["postgres_password"]
    rotate(own_secrets, deployments.owned_by("with_users", password))
    [(variables, fernet, _), (_, command, said)] = plain_rotation
    new, old = contents(own_secrets), contents(own_secrets / ".old")
    assert fernet == ("-m", "airflow", "rotate-fernet-key")
    assert variables["AIRFLOW__CORE__FERNET_KEY"] == f"{new['fernet_key']},{old['fernet_key']}"
    assert said == new["admin_password"]
    assert new["admin_password"] not in " ".join(command)


def test_the_first_user_logs_in_with_the_new_password_alone(
    deployments: Deployments, own_secrets: Path
) -> None:
    pytest.importorskip("airflow.providers.fab", reason="the extra `cluster` is not installed")
    from werkzeug.security import check_password_hash

    give(own_secrets, "fernet_key", deployments.fernet_key)
    old = contents(own_secrets)
    database = deployments.owned_by("with_fab", old["postgres_password"])
    fab = {"AIRFLOW__CORE__AUTH_MANAGER": FAB}
    password = f"--admin-password-file={own_secrets / 'admin_password'}"
    code, said = database.run("-m", "mf_airflow.operations.deploy", "init", password, **fab)
    assert code == 0, said

    database.operate("rotate", str(own_secrets), **fab)
    new = contents(own_secrets)
    after = Database(
        database.port, database.name, new["postgres_password"], database.variables, "with_fab"
    )
    [(kept,)] = after.ask("SELECT password FROM ab_user WHERE username = 'admin'")
    assert check_password_hash(kept, new["admin_password"])
    assert not check_password_hash(kept, old["admin_password"])


def test_keys_of_an_s3_server_that_is_not_ours_stay(
    deployments: Deployments, own_secrets: Path, plain_rotation: list[tuple]
) -> None:
    old = contents(own_secrets)
    database = deployments.owned_by("foreign_s3", old["postgres_password"])
    names = rotate(own_secrets, database, own_s3=False, own_users=False)
    assert not set(names) & set(rotation.S3_KEYS)
    assert all(contents(own_secrets)[name] == old[name] for name in rotation.S3_KEYS)
    assert len(plain_rotation) == 1


@pytest.mark.parametrize("at", ["fernet", "users", "half of the files"])
def test_a_rotation_that_was_interrupted_goes_on_with_what_it_had_drawn(
    deployments: Deployments, own_secrets: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    old = contents(own_secrets)
    user = f"broken_{at.replace(' ', '_')}"
    database = deployments.owned_by(user, old["postgres_password"])
    done: list[tuple] = []

    def fail(_: object, *command: str, said: str = "") -> None:
        if len(done) == {"fernet": 0, "users": 1, "half of the files": 9}[at]:
            raise rotation.RotationFailed("interrupted")
        done.append(command)

    def fail_to_move(path: Path, target: Path) -> Path:
        if at == "half of the files" and (own_secrets / "jwt_secret").stat().st_ino in moved:
            raise rotation.RotationFailed("interrupted")
        moved.add(path.stat().st_ino)
        return renamed(path, target)

    moved: set[int] = set()
    renamed = Path.replace
    with monkeypatch.context() as patched:
        patched.setattr(rotation, "_run", fail)
        patched.setattr(Path, "replace", fail_to_move)
        with contextlib.suppress(rotation.RotationFailed):
            rotate(own_secrets, database)
    drawn = contents(own_secrets) | (
        contents(own_secrets / ".new") if (own_secrets / ".new").exists() else {}
    )

    monkeypatch.setattr(rotation, "_run", lambda *_, **__: None)
    if (own_secrets / ".new").exists():
        rotate(own_secrets, database)
    assert contents(own_secrets) == drawn
    kept = {name: old[name] for name in rotation.KEPT}
    assert contents(own_secrets / ".old") | kept == old
    assert not (own_secrets / ".new").exists()
    after = Database(database.port, user, drawn["postgres_password"], {}, user)
    assert after.ask("SELECT 1") == [(1,)]


def test_nothing_is_rotated_while_somebody_uses_the_database(
    deployments: Deployments, own_secrets: Path, plain_rotation: list[tuple]
) -> None:
    old = contents(own_secrets)
    database = deployments.owned_by("busy", old["postgres_password"])
    with (
        contextlib.closing(database.connect()),
        pytest.raises(InvalidPlan, match="1 others use the database"),
    ):
        rotate(own_secrets, database)
    assert [path.name for path in own_secrets.iterdir() if path.is_dir()] == []
    assert plain_rotation == []
    assert database.ask("SELECT 1") == [(1,)]


def test_secrets_that_the_database_does_not_take_are_refused(
    deployments: Deployments, own_secrets: Path
) -> None:
    database = deployments.owned_by("other", "another-password")
    with pytest.raises(dump.DatabaseFailed, match="password authentication failed"):
        rotate(own_secrets, database)
    assert not (own_secrets / ".new").exists()


def test_a_folder_without_secrets_is_refused(tmp_path: Path, target: Database) -> None:
    with pytest.raises(InvalidPlan, match="has no admin_password; name the folder"):
        rotate(tmp_path, target)
    assert list(tmp_path.iterdir()) == []


def test_a_command_of_airflow_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(rotation.RotationFailed, match=r"(?s)failed; rotate again.*no such luck"):
        rotation._run({}, "-c", "raise SystemExit('no such luck')")


def test_seaweedfs_takes_the_new_keys_and_refuses_the_old_ones(
    own_secrets: Path,
    deployments: Deployments,
    plain_rotation: list[tuple],
    tmp_path: Path,
) -> None:
    password = contents(own_secrets)["postgres_password"]
    rotate(own_secrets, deployments.owned_by("stored", password))
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
    (tmp_path / "bin/weed").write_text("#!/bin/sh\n")
    (tmp_path / "bin/weed").chmod(0o755)
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
