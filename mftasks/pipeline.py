"""The whole flow without Airflow: plan, download, validate, split, train, evaluate, report, publish.

python -m mftasks run --store file:///tmp/store --set epochs=3

Trainings run at the same time, each in a process of its own; one network is evaluated as soon as it
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
    from collections.abc import Mapping, Sequence

    from mftasks.records import Manifest, RunPlan
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10


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
    children = _Children(workspace, planned.run_id, on_tick)
    networks = [training.network for training in planned.trainings]
    with ThreadPoolExecutor(max(os.cpu_count() or 1, 2)) as pool:
        try:
            for done in as_completed(
                pool.submit(children.train_and_evaluate, network) for network in networks
            ):
                done.result()
        except BaseException:
            children.stop()
            raise


class _Children:
    """Run steps as child processes and pass on what they tell."""

    def __init__(self, workspace: Workspace, run_id: str, on_tick: progress.OnTick) -> None:
        self._run_id = run_id
        self._on_tick = on_tick
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()
        self._environment = {
            **os.environ,
            "MF_STORE": workspace.settings.store,
            "MF_PROGRESS": "json",
        }

    def train_and_evaluate(self, network: str) -> None:
        for step in ("train", "evaluate"):
            self._run([step, "--run-id", self._run_id, "--network", network])

    def stop(self) -> None:
        """Stop every child, and start no other."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            child.terminate()
        for child in running:
            try:
                child.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()

    def _run(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "mftasks", *arguments]
        with self._lock:
            if self._stopped:
                raise errors.Interrupted(f"{arguments[0]} was not started: the run is stopping")
            child = subprocess.Popen(
                command,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            self._running.add(child)
        last = self._listen(child)
        with self._lock:
            self._running.discard(child)
        if child.returncode:
            raise errors.of_exit_code(child.returncode)(
                f"{' '.join(arguments)} exited with {child.returncode}: {last}"
            )

    def _listen(self, child: subprocess.Popen[str]) -> str:
        """Pass on the child's ticks until it ends; return the last other line."""
        last = "it said nothing"
        assert child.stdout is not None  # noqa: S101
        for line in child.stdout:
            tick = progress.parse(line)
            if tick is not None:
                self._on_tick(tick)
            elif line.strip():
                last = line.strip()
                log.info("%s", last)
        child.wait()
        return last
