"""A cluster on loopback: two Celery workers with nothing but the servers in common.

with cluster.running(folder) as running:
    training = running.train("try-1", {"networks": ["linear"]})
    training.wait_for_epoch(5)
    running.worker_of(training).kill()
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil

from mf_airflow import environment, servers, stack
from mf_airflow.environment import USER
from mf_airflow.process import free_ports
from mf_airflow.rest import DAG, Airflow, TaskState
from mf_airflow.servers import SeaweedFS
from tests.cluster.worker import Worker, of_mark, runs_a_step
from tests.waiting import wait

CHECKPOINT_SECONDS = 1.0
CALMLY_SECONDS = 0.5
LOG_LINES = 15
LINE_CHARACTERS = 200
ENDED = ("success", "failed")


@dataclass(frozen=True)
class Cluster:
    """Hold the servers, and the workers by name."""

    airflow: Airflow
    store: SeaweedFS
    workers: dict[str, Worker]
    mark: str

    def both(self) -> None:
        """Start the workers that have ended, and wait until they take tasks."""
        ended = [worker for worker in self.workers.values() if not worker.running]
        for worker in ended:
            worker.start()
        for worker in ended:
            worker.wait()

    def only(self, name: str, **variables: str) -> None:
        """Let there be one worker, started afresh with more variables."""
        for worker in self.workers.values():
            worker.stop()
        self.workers[name].start(**variables)
        self.workers[name].wait()

    def train(self, run_id: str, conf: dict[str, Any], network: str = "linear") -> Training:
        """Start a run; return its training of `network`."""
        self.airflow.end_unfinished_runs()  # of a test that failed: only one may be active
        self.airflow.trigger(run_id, conf)
        return Training(self, run_id, network)

    def wait_for_end(self, run_id: str, seconds: float = 180) -> str:
        """Wait until a run has ended; return how."""
        states: list[str] = []

        def ended() -> bool:
            states.append(self.airflow.run_state(run_id))
            return states[-1] in ENDED

        wait(ended, seconds, partial(self.said, run_id), every=CALMLY_SECONDS)
        return states[-1]

    def bundle(self, run_id: str) -> dict[str, str]:
        """Return the sha256 of every published file of a bundle."""
        answer = self.store.server.client().get_object(
            Bucket=stack.BUCKET, Key=f"runs/{run_id}/manifest.json"
        )
        files = json.loads(answer["Body"].read())["files"]
        return {file["name"]: file["sha256"] for file in files if "/bundle/" in file["name"]}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request about the DAG to Airflow that the product itself never makes."""
        return self.airflow._ask(method, f"/api/v2/dags/{DAG}/{path}", body)

    def left_over(self) -> list[str]:
        """Return what should not be there once no step runs: processes, and locks of devices."""
        processes = [str(process) for process in of_mark(self.mark) if runs_a_step(process)]
        held = [f"{name}: {lock}" for name, one in self.workers.items() for lock in one.held()]
        return processes + held

    def said(self, run_id: str) -> str:
        """Return the ends of all logs of a run, for a person who wonders why it went wrong."""
        states = "\n".join(map(str, self.airflow.tasks(run_id)))
        logs = (log for one in self.workers.values() for log in _logs(one, run_id, "*"))
        return "\n\n".join([states, *map(_end, sorted(logs, key=lambda log: log.stat().st_mtime))])


@dataclass(frozen=True)
class Training:
    """Hold one network's training in a run: what it says, and who does it."""

    cluster: Cluster
    run_id: str
    network: str

    @property
    def task_id(self) -> str:
        return f"train_{self.network}"

    def task(self) -> TaskState:
        """Return what Airflow says of it."""
        path = f"dagRuns/{self.run_id}/taskInstances/{self.task_id}"
        return msgspec.convert(self.cluster.ask("GET", path), TaskState)

    def worker(self) -> Worker:
        """Return the worker that runs it; raises `StopIteration` where none does."""
        return next(one for one in self.cluster.workers.values() if one.child(self.network))

    def child(self) -> psutil.Process:
        """Return the process that trains."""
        found = self.worker().child(self.network)
        assert found is not None
        return found

    def task_process(self) -> psutil.Process:
        """Return the process in which Airflow runs the task."""
        found = self.worker().task_process(self.network)
        assert found is not None
        return found

    def mark(self, state: str) -> None:
        """Say that the task has ended so, as a person does in the UI."""
        path = f"dagRuns/{self.run_id}/taskInstances/{self.task_id}"
        self.cluster.ask("PATCH", path, {"new_state": state})

    def clear(self) -> None:
        """Have the task done once more, with all that follows, as a person does in the UI."""
        chosen = {"dag_run_id": self.run_id, "task_ids": [self.task_id]}
        how = {"dry_run": False, "only_failed": False, "include_downstream": True}
        self.cluster.ask("POST", "clearTaskInstances", chosen | how)

    def attempts(self) -> list[Path]:
        """Return the log of every attempt, in order."""
        logs = [
            log
            for worker in self.cluster.workers.values()
            for log in _logs(worker, self.run_id, self.task_id)
        ]
        return sorted(logs, key=lambda log: int(re.findall(r"\d+", log.stem)[0]))

    def said(self) -> str:
        """Return all that its attempts have logged so far."""
        return _text(self.attempts())

    def epochs(self) -> list[int]:
        """Return the epochs that were done, in order; some twice where it resumed."""
        return self._epochs(self.attempts())

    def resumed(self) -> list[int]:
        """Return after which epochs it resumed, in order."""
        return self._numbers(r"resumes after epoch (\d+)", self.attempts())

    def _epochs(self, logs: list[Path]) -> list[int]:
        return self._numbers(r"epoch (\d+) of", logs)

    def _numbers(self, pattern: str, logs: list[Path]) -> list[int]:
        # As events of their own: an error repeats what was said last.
        event = rf'"event":"[^"]*train {self.network}: {pattern}'
        return [int(n) for n in re.findall(event, _text(logs))]

    def wait_for_epoch(self, n: int, seconds: float = 90) -> int:
        """Wait until epoch `n` is done, or a later one; return the last one that is done."""
        self.wait(lambda: max(self.epochs(), default=0) >= n, seconds)
        return self.epochs()[-1]

    def checkpoints(self) -> list[str]:
        """Return the keys of its checkpoints in the store."""
        prefix = f"runs/{self.run_id}/{self.network}/checkpoints/"
        client = self.cluster.store.server.client()
        answer = client.list_objects_v2(Bucket=stack.BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def goes_on(self, attempts: int, seconds: float = 90) -> int:
        """Wait until an attempt after the first ones trains; return how many epochs they lost."""
        self.wait(lambda: bool(self._epochs(self.attempts()[attempts:])), seconds)
        done = self._epochs(self.attempts()[:attempts])
        # A checkpoint may be put of an epoch whose line the task process did not live to log.
        return max(0, done[-1] - self.resumed()[-1])

    def wait(self, true: Callable[[], bool], seconds: float) -> float:
        """Wait until `true()`, and return after how many seconds; says what was logged if never."""
        return wait(true, seconds, partial(self.cluster.said, self.run_id))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Run the cluster with its state in `folder`; it is ready, and nothing of it is left after."""
    with contextlib.ExitStack() as stopped_at_exit:
        home = folder / "airflow"
        home.mkdir()
        own = environment.own_secrets(folder)
        store = SeaweedFS(folder / "seaweedfs", bucket=stack.BUCKET)
        stopped_at_exit.callback(store.stop)
        store.start()
        database = stopped_at_exit.enter_context(servers.postgres(folder / "postgres"))
        broker = stopped_at_exit.enter_context(servers.redis(folder / "redis"))
        [port] = free_ports(1)
        mark = uuid.uuid4().hex
        variables = (
            environment.inherited(os.environ)
            | store.server.environment()
            | environment.airflow_environment(
                home, own, database=database.url, port=port, scheduled=False
            )
            | _celery(database, broker)
            | {"MF_CHECKPOINT_SECONDS": str(CHECKPOINT_SECONDS), "MF_TEST_MARK": mark}
        )
        workers = {name: Worker(name, folder / f"worker-{name}", variables) for name in "ab"}
        for worker in workers.values():
            stopped_at_exit.callback(worker.stop)
            worker.start()
        airflow = stopped_at_exit.enter_context(Airflow(f"http://127.0.0.1:{port}"))
        tables = folder / "postgres" / "data" / "airflow-version"
        stopped_at_exit.enter_context(stack._airflow(home, tables, variables, airflow, False))
        store.wait()
        airflow.log_in(USER, own.password)
        airflow.set_pool("gpu", 4, "trainings at once")
        for worker in workers.values():
            worker.wait()
        yield Cluster(airflow, store, workers, mark)


def _celery(database: servers.PostgresServer, broker: servers.RedisServer) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": broker.url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database.url}",
    }


def _logs(worker: Worker, run_id: str, task_id: str) -> Iterator[Path]:
    return worker.logs.glob(f"dag_id={DAG}/run_id={run_id}/task_id={task_id}/attempt=*.log")


def _text(logs: list[Path]) -> str:
    return "".join(log.read_text(errors="replace") for log in logs)


def _end(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([str(log), *map(_brief, lines[-LOG_LINES:])])


def _brief(line: str) -> str:
    """Return what a person wants of a line of a task's log."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    causes = [detail["exc_value"] for detail in entry.get("error_detail") or ()]
    return " ".join([entry.get("timestamp", ""), entry["event"][:LINE_CHARACTERS], *causes])
