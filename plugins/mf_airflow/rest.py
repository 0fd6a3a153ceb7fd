"""Ask Airflow over its public REST API, on loopback."""

from __future__ import annotations

import time
from typing import Any

import httpx
import msgspec

from mftasks.errors import InvalidPlan, MfError
from mftasks.progress import Tick

DAG = "movielens_mf"


class RequestRefused(MfError):
    """Report that Airflow refused a request of ours."""


class TaskState(msgspec.Struct, frozen=True):
    """Hold what Airflow says of one task of a run."""

    task_id: str
    state: str | None
    try_number: int
    start_date: str | None
    end_date: str | None
    duration: float | None


class Airflow:
    """Hold a session with the API server at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(base_url=address, timeout=30, trust_env=False)

    def __enter__(self) -> Airflow:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def answers(self) -> bool:
        """Say whether the server is up, the part that tasks talk to included."""
        try:
            healthy = self._client.get("/api/v2/version").is_success
            return healthy and self._client.get("/execution/health").is_success
        except httpx.TransportError:
            return False

    def log_in(self, user: str, password: str) -> None:
        """Take a token for every later request."""
        answer = self._ask("POST", "/auth/token", {"username": user, "password": password})
        self._client.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def set_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool, or change the one that is there."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        answer = self._client.post("/api/v2/pools", json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._client.patch(f"/api/v2/pools/{name}", json=body)
        _checked(answer)

    def end_unfinished_runs(self) -> None:
        """Fail the runs that a stack left behind when it was stopped: only one may be active."""
        unfinished = self._ask("GET", f"/api/v2/dags/{DAG}/dagRuns?state=running&state=queued")
        for run in unfinished["dag_runs"]:
            body = {"state": "failed", "note": "ended with the stack that ran it"}
            self._ask("PATCH", f"/api/v2/dags/{DAG}/dagRuns/{run['dag_run_id']}", body)

    def trigger(self, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run; raises `InvalidPlan` for parameters that do not fit the form."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        answer = self._client.post(f"/api/v2/dags/{DAG}/dagRuns", json=body)
        if answer.status_code == httpx.codes.BAD_REQUEST:
            raise InvalidPlan(str(answer.json().get("detail", answer.text)))
        _checked(answer)

    def run_state(self, run_id: str) -> str:
        """Return queued, running, success or failed."""
        return str(self._ask("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}")["state"])

    def tasks(self, run_id: str) -> list[TaskState]:
        """Return the state of every task."""
        answer = self._ask("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances")
        return msgspec.convert(answer["task_instances"], list[TaskState])

    def progress(self, run_id: str, task_id: str) -> Tick | None:
        """Return the latest tick of a task, if it has told any."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task_id}/state-store/progress"
        answer = self._client.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return msgspec.convert(_checked(answer)["value"], Tick)

    def log_lines(self, run_id: str, task: TaskState) -> list[str]:
        """Return the lines of a task's last log."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task.task_id}"
        answer = self._ask("GET", f"{path}/logs/{task.try_number}?full_content=true")
        return [line for entry in answer["content"] for line in _lines(entry)]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return _checked(self._client.request(method, path, json=body))


def _checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json() if answer.content else None
    raise RequestRefused(
        f"Airflow answered {answer.status_code} to {answer.request.method} "
        f"{answer.request.url.path}: {answer.text[:500]}"
    )


def _lines(entry: Any) -> list[str]:
    """Return one entry of a log as text, without the groups that fold it in the UI."""
    if isinstance(entry, str):
        return entry.splitlines()
    text = str(entry.get("event", ""))
    if text.startswith("::"):
        return []
    errors = [
        f"{detail.get('exc_type')}: {detail.get('exc_value')}"
        for detail in entry.get("error_detail") or ()
    ]
    return [line for part in (text, *errors) for line in part.splitlines()]


def wait_until(true: Any, seconds: float, every: float = 0.2) -> bool:
    """Return whether `true()` became true within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(every)
    return False
