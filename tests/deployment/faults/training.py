"""One network's training in a run: its log, its processes, and what a person may do to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import psutil

from mf_airflow.embedded.rest import RequestRefused, TaskState
from tests.deployment import logs
from tests.deployment.deployed import BUCKET, Deployed, trainings, words
from tests.deployment.engine.container import Container

GUARD = "/mf_airflow/tasks/guard.py"


@dataclass(frozen=True)
class Training:
    """The training of `network` in a run on a deployment."""

    deployed: Deployed
    run_id: str
    network: str = "linear"

    @property
    def task_id(self) -> str:
        return f"train_{self.network}"

    @property
    def name(self) -> str:
        """Return the name under which it leases a device."""
        return f"train {self.network} of {self.run_id}"

    def task(self) -> TaskState:
        """Return its state as Airflow knows it."""
        return msgspec.convert(self.deployed.ask("GET", self._path), TaskState)

    def worker(self) -> Container:
        """Return the container in which it trains; raises `StopIteration` if none does."""
        return self._found()[0]

    def child(self) -> psutil.Process:
        """Return the process that trains; raises `StopIteration` if none does."""
        return self._found()[1]

    def task_process(self) -> psutil.Process:
        """Return the process in which Airflow runs the task: above the training and its guard."""
        return next(one for one in self.child().parents() if not is_guard(one))

    def host(self) -> Container | None:
        """Return where its last attempt ran, or runs, as Airflow says."""
        return self.deployed.hosts(self.run_id)[self.task_id]

    def mark(self, state: str) -> None:
        """Set the state of the task, as a person does in the UI."""
        self.deployed.ask("PATCH", self._path, {"new_state": state})

    def clear(self) -> None:
        """Clear the task and all that follow it, as a person does in the UI."""
        chosen = {"dag_run_id": self.run_id, "task_ids": [self.task_id]}
        how = {"dry_run": False, "only_failed": False, "include_downstream": True}
        self.deployed.ask("POST", "clearTaskInstances", chosen | how)

    def attempts(self) -> list[str]:
        """Return what each process has logged, in order; a try that is rescheduled has several."""
        return logs.attempts(self.deployed.deployment.folder, self.run_id, self.task_id)

    def log(self) -> str:
        """Return all that its attempts have logged so far."""
        return logs.text(logs.of(self.deployed.deployment.folder, self.run_id, self.task_id))

    def epochs(self) -> list[int]:
        """Return the epochs that were done, in order; some twice where it resumed."""
        return self._epochs(self.attempts())

    def resumed(self) -> list[int]:
        """Return after which epochs it resumed, in order."""
        return self._numbers(r"resumes after epoch (\d+)", self.attempts())

    def epoch_seconds(self) -> float:
        """Return how long an epoch takes."""
        return float(np.median(np.diff(moments(self.log()))) / np.timedelta64(1, "s"))

    def checkpoints(self) -> list[str]:
        """Return the keys of its checkpoints in the store."""
        try:
            prefix = f"{self.deployed.prefix(self.run_id)}/{self.network}/checkpoints/"
        except RequestRefused:
            return []  # its run is not planned yet
        answer = self.deployed.s3("ui").client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def wait_until_it_goes_on(self, attempts: int) -> int:
        """Wait until an attempt after the first ones trains; return how many epochs they lost."""
        self.wait(lambda: self._epochs(self.attempts()[attempts:]))
        done = self._epochs(self.attempts()[:attempts])
        # A checkpoint may be put of an epoch whose line the task process did not live to log.
        return max(0, done[-1] - self.resumed()[-1])

    def wait(self, true: Callable[[], Any]) -> float:
        """Wait as long as its run makes progress until `true()`; return after how many seconds."""
        return self.deployed.wait(true, self.run_id)

    @property
    def _path(self) -> str:
        return f"dagRuns/{self.run_id}/taskInstances/{self.task_id}"

    def _found(self) -> tuple[Container, psutil.Process]:
        return next(
            (container, process)
            for container in self.deployed.deployment.containers
            for process in trainings(container)
            if self.network in words(process)
        )

    def _epochs(self, logged: list[str]) -> list[int]:
        return self._numbers(r"epoch (\d+) of", logged)

    def _numbers(self, pattern: str, logged: list[str]) -> list[int]:
        # As events of their own: an error repeats the last line.
        event = rf'"event":"[^"]*train {self.network}: {pattern}'
        return [int(n) for n in re.findall(event, "".join(logged))]


def is_guard(process: psutil.Process) -> bool:
    """Return whether a process is the guard of a step."""
    return any(word.endswith(GUARD) for word in words(process))


def moments(log: str) -> Any:
    """Return the moments at which the epochs in a task's log were done."""
    stamps = re.findall(r'"timestamp":"([^"]+)Z".*"train \w+: epoch \d', log)
    return np.array(stamps, "datetime64[us]")
