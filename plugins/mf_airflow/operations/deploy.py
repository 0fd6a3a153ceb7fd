"""Prepare a deployment, once, before anything of it runs; both commands may be repeated.

python -m mf_airflow.operations.deploy init --admin-password-file FILE --trainings-at-once 3
python -m mf_airflow.operations.deploy bucket
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import tenacity
import typer

from mf_airflow.embedded.environment import USER
from mf_airflow.operations import bucket, commands
from mftasks import settings
from mftasks.errors import InvalidPlan, MfError, StoreUnavailable, quote
from mftasks.store import s3_client

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

STORE_SECONDS = 120.0
EVERY_SECONDS = 1.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def init(
    admin_password_file: Annotated[Path, typer.Option(help="What the first user logs in with.")],
    trainings_at_once: Annotated[int, typer.Option(min=1, help="Slots of the pool `gpu`.")] = 3,
) -> None:
    """Make or upgrade Airflow's tables, its first user, and the pool of trainings.

    A user who is there already keeps the password.
    """
    from mf_airflow.embedded.prepare import airflow

    password = admin_password_file.read_text().strip()
    if not password:
        raise InvalidPlan(f"{admin_password_file} is empty; it must hold the password of {USER}")
    airflow("db", "migrate")
    airflow("pools", "set", "gpu", str(trainings_at_once), "trainings at once")
    names = ("--firstname=Airflow", "--lastname=Administrator", f"--email={USER}@example.org")
    login = (f"--username={USER}", f"--password={password}", "--role=Admin")
    airflow("users", "create", *login, *names)


@app.command("bucket")
def make_store_bucket() -> None:
    """Make the bucket of MF_STORE if there is none, and wait until it takes and gives objects."""
    own = settings.read()
    parts = urlsplit(own.store)
    if parts.scheme != "s3":
        raise InvalidPlan(
            f"MF_STORE is {quote(own.store)}, which has no bucket; name s3://bucket/prefix"
        )
    make_bucket(parts.netloc, own.s3_endpoint)
    typer.echo(f"bucket {parts.netloc} is there")


def make_bucket(name: str, endpoint: str | None, *, seconds: float = STORE_SECONDS) -> None:
    """Make a bucket if there is none; raises `StoreUnavailable` after `seconds`.

    Raises `InvalidPlan` at once if the keys or the name are refused.
    """
    client = s3_client.client(endpoint, patient=False)
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(EVERY_SECONDS),
        reraise=True,
    )
    tries(_make, client, name)


def _make(client: Any, name: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        bucket.make(client, name)
    except ClientError as error:
        raise _translate(error, name) from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"bucket {name!r}: {error}") from error


def _translate(error: ClientError, name: str) -> MfError:
    if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
        return InvalidPlan(f"bucket {name!r} cannot be made: {error}")
    return StoreUnavailable(f"bucket {name!r}: {error}")


if __name__ == "__main__":
    commands.main(app)
