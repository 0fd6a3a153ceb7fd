"""Ask Airflow through its public REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from mftasks.errors import LONGEST, InvalidPlan, MfError
from mftasks.progress import Tick

DAG = "movielens_mf"
ENDED = ("success", "failed")  # the states of runs that are over
OURS = ("mftasks.", "mf_airflow.")


class RequestRefused(MfError):
    """A request that Airflow refused."""


class TaskState(msgspec.Struct, frozen=True):
    """The state of one task of a run."""

    task_id: str
    state: str | None
    try_number: int
    start_date: datetime | None
    end_date: datetime | None

    @property
    def seconds(self) -> float | None:
        """Return how long it took, or has taken so far."""
        if self.start_date is None:
            return None
        return ((self.end_date or datetime.now(UTC)) - self.start_date).total_seconds()


class Airflow:
    """A session with the API server at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(base_url=address, timeout=60, trust_env=False)

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
        """Make every later request as `user`."""
        self._client.auth = _Login(user, password)

    def set_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool, or change the one that is there."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        answer = self._client.post("/api/v2/pools", json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._client.patch(f"/api/v2/pools/{name}", json=body)
        _read_answer(answer)

    def end_unfinished_runs(self) -> None:
        """Fail the runs that a stack left behind when it was stopped: only one may be active."""
        unfinished = self.ask("GET", f"/api/v2/dags/{DAG}/dagRuns?state=running&state=queued")
        for run in unfinished["dag_runs"]:
            path = f"/api/v2/dags/{DAG}/dagRuns/{quote(run['dag_run_id'])}"
            self.ask("PATCH", path, {"state": "failed"})

    def trigger(self, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run; raises `InvalidPlan` for parameters that do not fit the form."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        answer = self._client.post(f"/api/v2/dags/{DAG}/dagRuns", json=body)
        if answer.status_code == httpx.codes.BAD_REQUEST:
            raise InvalidPlan(str(answer.json().get("detail", answer.text))[:LONGEST])
        _read_answer(answer)

    def run_state(self, run_id: str) -> str:
        """Return queued, running, success or failed."""
        return str(self.ask("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}")["state"])

    def note(self, dag_id: str, run_id: str, text: str) -> None:
        """Show `text` with a run in the UI, unless somebody has written a note there."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}"
        if not self.ask("GET", path)["note"]:
            self.ask("PATCH", path, {"note": text})

    def tasks(self, run_id: str) -> list[TaskState]:
        """Return the state of every task."""
        answer = self.ask("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances")
        return msgspec.convert(answer["task_instances"], list[TaskState])

    def progress(self, run_id: str, task_id: str) -> Tick | None:
        """Return the latest tick that a task has reported, if any."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task_id}/state-store/progress"
        answer = self._client.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return msgspec.convert(_read_answer(answer)["value"], Tick)

    def store_run_id(self, run_id: str) -> str:
        """Return the id that a run has in the object store, once its task `plan` has begun."""
        task = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/plan"
        return str(self.ask("GET", f"{task}/state-store/store_run_id")["value"])

    def log_lines(self, run_id: str, task: TaskState) -> list[str]:
        """Return the lines of a task's last log."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task.task_id}"
        answer = self.ask("GET", f"{path}/logs/{task.try_number}?full_content=true")
        return [line for entry in answer["content"] for line in _pick_lines(entry)]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send any request; return the answer, or raise `RequestRefused`."""
        return _read_answer(self._client.request(method, path, json=body))


class _Login(httpx.Auth):
    """A user whose token is asked for when there is none, or when it has expired, as after a day."""

    requires_response_body = True

    def __init__(self, user: str, password: str) -> None:
        self._login = {"username": user, "password": password}
        self._headers: dict[str, str] = {}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self._headers)
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            granted = yield httpx.Request("POST", request.url.join("/auth/token"), json=self._login)
            self._headers = {"Authorization": f"Bearer {_read_answer(granted)['access_token']}"}
            request.headers.update(self._headers)
            yield request


def _read_answer(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json() if answer.content else None
    raise RequestRefused(
        f"Airflow answered {answer.status_code} to {answer.request.method} "
        f"{answer.request.url.path}: {answer.text[:500]}"
    )


def _pick_lines(entry: Any) -> list[str]:
    """Return the text of a log's entry if it is about our own work or a failure."""
    if isinstance(entry, str):
        return entry.splitlines()
    ours = str(entry.get("logger")).startswith(OURS)
    failure = entry.get("level") in ("error", "critical")
    causes = [
        f"{detail['exc_type']}: {detail['exc_value']}" for detail in entry.get("error_detail") or ()
    ]
    text = causes[0] if causes else str(entry["event"])
    return text.splitlines() if ours or failure else []


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.2) -> bool:
    """Return whether `condition()` became true within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return False
