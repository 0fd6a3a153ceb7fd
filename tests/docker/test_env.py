from __future__ import annotations

import base64
import configparser
import subprocess
from pathlib import Path

from tests.docker import compose
from tests.docker.compose import ROOT


def secrets(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / ".secrets").iterdir()}


def values(folder: Path) -> list[str]:
    """Return every secret value, the two of each S3 identity apart."""
    found = []
    for name, text in secrets(folder).items():
        if name.startswith("s3_"):
            keys = configparser.ConfigParser()
            keys.read_string(text)
            found += keys["default"].values()
        else:
            found.append(text)
    return found


def test_secrets_are_long_and_no_two_are_alike(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        compose.make_env(folder)
    drawn = values(first) + values(second)
    assert len(set(drawn)) == len(drawn) == 28
    assert min(map(len, drawn)) >= 32
    assert not [value for value in drawn if not set(value) <= set(_URL_SAFE)]


_URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="


def test_the_keys_for_airflow_are_as_airflow_wants_them(tmp_path: Path) -> None:
    compose.make_env(tmp_path)
    own = secrets(tmp_path)
    assert len(base64.urlsafe_b64decode(own["fernet_key"])) == 32
    assert len(own["jwt_secret"]) >= 64  # it signs with HS512


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    env = compose.make_env(tmp_path)
    assert env.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".secrets").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / ".secrets").iterdir():  # containers see each of them as another user
        assert path.stat().st_mode & 0o777 == 0o444


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    env = compose.make_env(tmp_path)
    before = (env.read_text(), secrets(tmp_path))
    _is_refused(tmp_path)
    env.unlink()
    _is_refused(tmp_path)
    assert (before[0], secrets(tmp_path)) == before
    assert [path.name for path in tmp_path.iterdir()] == [".secrets"]


def _is_refused(folder: Path) -> None:
    refused = subprocess.run(
        [ROOT / "tools" / "env", folder], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    (sentence,) = refused.stderr.splitlines()
    assert "is there already" in sentence


def test_every_secret_is_explained(tmp_path: Path) -> None:
    text = compose.make_env(tmp_path).read_text()
    for name in secrets(tmp_path):
        assert f"#   {name} " in text


def test_every_secret_has_a_user_and_every_user_has_his_secret(tmp_path: Path) -> None:
    asked = compose.read(compose.make_env(tmp_path))["secrets"]
    assert set(asked) == set(secrets(tmp_path))
    assert {Path(each["file"]).parent.name for each in asked.values()} == {".secrets"}


def test_every_setting_that_it_explains_changes_something(tmp_path: Path) -> None:
    env = compose.make_env(tmp_path)
    lines = [line.removeprefix("#") for line in env.read_text().splitlines()]
    explained = {line.split("=")[0] for line in lines if line.startswith(("MF_", "AWS_"))}
    file = (ROOT / "docker-compose.yaml").read_text()
    assert not [name for name in explained if f"${{{name}" not in file]


def test_git_takes_no_notice_of_them() -> None:
    for name in (".env", ".secrets/jwt_secret", ".secrets.aB3xYz/jwt_secret"):
        asked = ["git", "check-ignore", "--quiet", "--no-index", name]
        assert subprocess.run(asked, cwd=ROOT, check=False).returncode == 0, name
