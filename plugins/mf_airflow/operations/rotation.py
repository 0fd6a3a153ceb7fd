"""Draw new secrets for a deployment, and give them to its database; what it encrypted stays readable.

The folder holds one secret per file, as `tools/env` makes it. In it, `.new` holds the drawn ones until
they take their places: if the rotation is interrupted, the next one continues with them. `.old` keeps
those from before.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mf_airflow.embedded.environment import USER
from mf_airflow.operations import dump
from mftasks.errors import InvalidPlan, MfError

# Random bytes of each, as in tools/env.
TOKENS = {
    "admin_password": 24,
    "grafana_password": 24,
    "postgres_password": 36,
    "redis_password": 36,
    "jwt_secret": 96,
    "session_key": 48,
}
FERNET = "fernet_key"
UNCHANGED = ("grafana_key",)  # with another one, Grafana could not read what it has encrypted
S3_KEYS = ("s3_admin", "s3_worker", "s3_ui")
NEW, OLD = ".new", ".old"
SET_PASSWORD = (
    "import sys; from mf_airflow.embedded.prepare import airflow;"
    "airflow('users', 'reset-password', '--username', sys.argv[1], '--password', sys.stdin.read())"
)


class RotationFailed(MfError):
    """A rotation that could not be completed; the next one continues it."""

    exit_code = 75


def rotate(folder: Path, *, database: str, own_s3: bool, own_users: bool) -> tuple[str, ...]:
    """Replace the secrets in `folder`; return the names of those that are new.

    `database` is the URL of Airflow's database, whose password is one of the secrets. `own_s3` means
    that the S3 server takes its keys from the folder; `own_users` that Airflow keeps the users'
    passwords in its database. Raises `InvalidPlan` for a folder that `tools/env` did not make, and if
    somebody else uses the database; `DatabaseFailed` and `RotationFailed`.
    """
    names = (*TOKENS, FERNET, *(S3_KEYS if own_s3 else ()))
    if missing := [name for name in names if not _has_secret(folder, name)]:
        raise InvalidPlan(f"{folder} has no {missing[0]}; name the folder that `make env` made")
    url = _find_url(folder, database)
    dump.refuse_others(url)
    if not (folder / NEW).exists():
        _draw(folder, names)
    url = _change_password(url, _read_new(folder, "postgres_password"))
    keys = ",".join((_read_new(folder, FERNET), _read_old(folder, FERNET)))
    variables = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url, "AIRFLOW__CORE__FERNET_KEY": keys}
    _run(variables, "-m", "airflow", "rotate-fernet-key")
    if own_users:
        _run(variables, "-c", SET_PASSWORD, USER, written=_read_new(folder, "admin_password"))
    for path in (folder / NEW).iterdir():
        path.replace(folder / path.name)
    (folder / NEW).rmdir()
    return names


def _has_secret(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / NEW / name).is_file()


def _draw(folder: Path, names: tuple[str, ...]) -> None:
    """Copy the present secrets to `.old`, and put new ones into `.new`, all or none."""
    shutil.rmtree(folder / OLD, ignore_errors=True)
    (folder / OLD).mkdir(mode=0o700)
    arriving = folder / f"{NEW}.arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(mode=0o700)
    for name in names:
        shutil.copy2(folder / name, folder / OLD / name)
        (arriving / name).write_text(_draw_secret(name))
        (arriving / name).chmod(0o444)  # containers run as other users; the folder is closed
    os.sync()
    arriving.rename(folder / NEW)


def _draw_secret(name: str) -> str:
    if name == FERNET:
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if name in S3_KEYS:
        access, secret = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        return f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
    return secrets.token_urlsafe(TOKENS[name])


def _read_new(folder: Path, name: str) -> str:
    path = folder / NEW / name
    return (path if path.exists() else folder / name).read_text().strip()


def _read_old(folder: Path, name: str) -> str:
    return (folder / OLD / name).read_text().strip()


def _find_url(folder: Path, database: str) -> str:
    """Return the database's URL with the password that it takes now.

    That is the new one already if a rotation was interrupted after it had changed the password.
    """
    url = _with_password(database, (folder / "postgres_password").read_text().strip())
    try:
        with dump.connect(url):
            return url
    except dump.DatabaseFailed:
        if not (folder / NEW).exists():
            raise
    return _with_password(database, _read_new(folder, "postgres_password"))


def _with_password(url: str, password: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).set(password=password).render_as_string(hide_password=False)


def _change_password(url: str, password: str) -> str:
    """Give the user of a database another password; return the URL with it."""
    from psycopg2.extensions import encrypt_password  # type: ignore[import-untyped]
    from sqlalchemy import text

    with dump.connect(url) as connection:
        server = connection.connection.driver_connection
        user = str(connection.execute(text("SELECT current_user")).scalar_one())
        # The server gets, and may log, what it checks the password by, and not the password.
        verifier = encrypt_password(password, user, server, "scram-sha-256")
        connection.exec_driver_sql(f"ALTER ROLE CURRENT_USER PASSWORD '{verifier}'")
    return _with_password(url, password)


def _run(variables: Mapping[str, str], *arguments: str, written: str = "") -> None:
    ended = subprocess.run(
        [sys.executable, *arguments],
        input=written,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise RotationFailed(
            f"{' '.join(arguments[:3])} failed; rotate again to continue. Its output:\n{ended.stdout}"
        )
