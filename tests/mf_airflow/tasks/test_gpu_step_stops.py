from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import (
    AirflowRescheduleException,
)

from mf_airflow.tasks.gpu_step import ROOT, GpuStepOperator
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from tests.mf_airflow.tasks.scripts import execute, scripted


def test_a_task_that_is_stopped_asks_its_child_to_stop_and_is_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    operator = scripted(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(75)))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    _kill_when(operator, lambda child: True, after=0.5)
    with pytest.raises(AirflowRescheduleException):
        execute(operator)
    assert "saved" in caplog.messages


def test_a_child_that_ignores_the_request_is_killed_with_its_own_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    operator = scripted(
        "import pathlib, signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    _kill_when(operator, lambda child: note.exists(), times=2)
    began = time.monotonic()
    with pytest.raises(AirflowRescheduleException):
        execute(operator)
    assert time.monotonic() - began < 4.5  # Airflow itself kills after 5 s
    assert _is_gone(int(note.read_text()))


def test_a_timeout_gives_the_child_time_for_its_checkpoint_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    note = tmp_path / "saved"
    operator = scripted(
        "import pathlib, signal, sys, time\n"
        f"save = lambda *_: (pathlib.Path({str(note)!r}).write_text('saved'), sys.exit(75))\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('ready', flush=True); time.sleep(60)"
    )

    class TimedOut(BaseException):
        pass

    def time_out(*_: object) -> None:
        raise TimedOut

    before = set(psutil.Process().children())
    usual = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(TimedOut):
            execute(operator)
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert note.read_text() == "saved"
    assert set(psutil.Process().children()) - before == set()


def test_a_training_stops_within_three_seconds_of_a_task_process_that_was_killed(
    split_run: Workspace,
) -> None:
    places = os.pathsep.join(str(ROOT / folder) for folder in (".", "plugins"))
    task = subprocess.Popen(
        [sys.executable, "-c", TASK],
        env=os.environ | {"PYTHONPATH": places},
        stdout=subprocess.PIPE,
        text=True,
    )
    with task:
        assert any("epoch 3 of" in line for line in task.stdout)
        family = psutil.Process(task.pid).children(recursive=True)
        task.kill()
        _, alive = psutil.wait_procs(family, timeout=4)
    assert len(family) == 2  # guard and training
    assert alive == []
    (checkpoint,) = split_run.store.list(keys.network("long", "mlp", "checkpoints/"))
    assert int(Path(checkpoint).stem) >= 3


TASK = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from mf_airflow.tasks.gpu_step import GpuStepOperator
from mftasks import settings
from mftasks.steps import download, plan, split, validate
from mftasks.store import keys
from mftasks.store.workspace import Workspace
from mftasks.records import RunPlan
workspace = Workspace(settings.read())
dataset = workspace.read(keys.run("try-1", "plan.json"), RunPlan).dataset
plan.plan(workspace, "long", {"dataset": dataset, "networks": ["mlp"], "epochs": 10_000, "patience": 0})
for step in (download.download, validate.validate, split.split):
    step(workspace, "long")
class State:
    def set(self, key, value): pass
    def get(self, key): return None
operator = GpuStepOperator(task_id="train_mlp", step="train", run_id="long", network="mlp")
operator.execute({"task_state_store": State()})
"""


def test_on_kill_before_there_is_a_child_lets_none_begin() -> None:
    operator = scripted("raise SystemExit(0)")
    operator.on_kill()
    operator.on_kill()
    with pytest.raises(AirflowRescheduleException):
        execute(operator)


def test_on_kill_in_the_task_process_lets_execution_go_on() -> None:
    operator = scripted("import time; print('ready', flush=True); time.sleep(60)")
    usual = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(AirflowRescheduleException):
            execute(operator)
    finally:
        signal.signal(signal.SIGTERM, usual)


def _kill_when(
    operator: GpuStepOperator, ready: Any, *, after: float = 0.0, times: int = 1
) -> None:
    def wait_and_kill() -> None:
        while operator._child is None or not ready(operator._child):
            time.sleep(0.02)
        time.sleep(after)
        for _ in range(times):
            operator.on_kill()

    threading.Thread(target=wait_and_kill, daemon=True).start()


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
