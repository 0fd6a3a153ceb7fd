"""What a DAG run is called in the object store: `<dag>.<run>-<token>`, chosen once by its task `plan`.

The token is random, so that a second DAG, a copied one, or a fresh Airflow database on an old store
never continues the run of another. Airflow's task state store keeps the id: clearing `plan` does not
drop it, so that a cleared run goes on where it was.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import NEVER_EXPIRE

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

KEY = "store_run_id"
PLAN = "plan"
LONGEST_SLUG = 80
TOKEN_BYTES = 4


def choose(dag_id: str, run_id: str, state: TaskStateStoreAccessor) -> str:
    """Return the id that the run has in the store; the first call for a DAG run draws it."""
    known = state.get(KEY)
    if known:
        return str(known)
    drawn = f"{make_slug(dag_id)}.{make_slug(run_id)}-{secrets.token_hex(TOKEN_BYTES)}"
    state.set(KEY, drawn, retention=NEVER_EXPIRE)
    return drawn


def read_run_id(ti: Any) -> str:
    """Return the id that `plan` has chosen for the run of the task instance `ti`."""
    return str(read_plan(ti)["run_id"])


def read_plan(ti: Any) -> dict[str, Any]:
    """Return what the task `plan` of the same run has returned."""
    headline: dict[str, Any] | None = ti.xcom_pull(task_ids=PLAN)
    if not headline:
        raise AirflowFailException(
            f"task {PLAN} of this run has returned nothing: clear it, with all that follows"
        )
    return headline


def make_slug(name: str) -> str:
    """Return `name` in letters, digits, dots, dashes and underscores, at most 80 of them."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("._-")
    return safe[:LONGEST_SLUG].rstrip("._-") or "run"
