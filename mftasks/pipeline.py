"""The whole flow without Airflow: plan, download, validate, split, train, evaluate, report, publish.

python -m mftasks run --store file:///tmp/store --set epochs=3

Trainings run at the same time, each in a process of its own; a network is evaluated as soon as it
is trained.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from mftasks import errors, progress
from mftasks.steps.download import download
from mftasks.steps.plan import plan
from mftasks.steps.publish import publish
from mftasks.steps.report import report
from mftasks.steps.split import split
from mftasks.steps.validate import validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mftasks.records import Manifest, RunPlan
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

STOP_SECONDS = 10


def run(
    workspace: Workspace, run_id: str, given: Mapping[str, Any], *, on_tick: progress.OnTick
) -> Manifest:
    """Do the whole flow and return the manifest; raises whatever a step raises."""
    planned = plan(workspace, run_id, given)
    download(workspace, run_id, on_tick=on_tick)
    validate(workspace, run_id, on_tick=on_tick)
    split(workspace, run_id, on_tick=on_tick)
    _train_all(workspace, planned, on_tick)
    report(workspace, run_id, on_tick=on_tick)
    return publish(workspace, run_id, on_tick=on_tick)


def _train_all(workspace: Workspace, planned: RunPlan, on_tick: progress.OnTick) -> None:
    """Train and evaluate every network; the first failure stops the others."""
    processes = _StepProcesses(workspace, planned.run_id, on_tick)
    names = [training.network for training in planned.trainings]
    with ThreadPoolExecutor(max(os.cpu_count() or 1, 2)) as pool:
        try:
            for done in as_completed(
                pool.submit(processes.train_and_evaluate, name) for name in names
            ):
                done.result()
        except BaseException:
            processes.stop()
            raise


class _StepProcesses:
    """The steps of a run that run as processes of their own, and report their progress."""

    def __init__(self, workspace: Workspace, run_id: str, on_tick: progress.OnTick) -> None:
        self._run_id = run_id
        self._on_tick = on_tick
        self._running: set[subprocess.Popen[str]] = set()
        self._stopping = False
        self._lock = threading.Lock()
        self._environment = {
            **os.environ,
            "MF_STORE": workspace.settings.store,
            "MF_PROGRESS": "json",
        }

    def train_and_evaluate(self, network: str) -> None:
        for step in ("train", "evaluate"):
            self._run(step, "--run-id", self._run_id, "--network", network)

    def stop(self) -> None:
        """Stop every process, and start no other."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, *arguments: str) -> None:
        """Run a step to its end; raises the error that belongs to its exit code."""
        process = self._start(arguments)
        last_line = self._follow(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code:
            message = f"{' '.join(arguments)} exited with {code}: {last_line}"
            raise errors.of_exit_code(code)(message)

    def _start(self, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopping:
                raise errors.Interrupted(f"{arguments[0]} was not started: the run is stopping")
            process = subprocess.Popen(
                [sys.executable, "-m", "mftasks", *arguments],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def _follow(self, process: subprocess.Popen[str]) -> str:
        """Pass on the ticks of a process until its output ends; return the last other line."""
        last_line = "it has written nothing"
        for line in process.stdout or ():
            tick = progress.parse(line)
            if tick is not None:
                self._on_tick(tick)
            elif line.strip():
                last_line = line.strip()
                log.info("%s", last_line)
        return last_line
