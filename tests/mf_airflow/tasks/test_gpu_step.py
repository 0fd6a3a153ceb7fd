from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
)

from mf_airflow.tasks import headlines
from mf_airflow.tasks.gpu_step import ROOT, GpuStepOperator, child_environment, final_exit_codes
from mftasks import settings
from mftasks.records import TrainResult
from mftasks.steps.download import download
from mftasks.steps.plan import plan
from mftasks.steps.split import split
from mftasks.steps.validate import validate
from mftasks.store.workspace import Workspace, network_key
from tests.mf_airflow.state_store import StateStore


class Scripted(GpuStepOperator):
    """Run a script of a test's own instead of a step."""

    script: str

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]


def scripted(script: str) -> Scripted:
    operator = Scripted(task_id="train_mlp", step="train", run_id="try-1", network="mlp")
    operator.script = script
    return operator


def execute(operator: GpuStepOperator) -> tuple[Any, StateStore]:
    store = StateStore()
    return operator.execute({"task_state_store": store}), store


@pytest.fixture
def split_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Give a workspace with a run on a few ratings that is ready for training."""
    ratings = tmp_path / "ratings.csv"
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user in range(40) for item in range(25)]
    ratings.write_text("\n".join(["user_id,item_id,rating", *rows]))
    monkeypatch.setenv("MF_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MF_CACHE", str(tmp_path / "cache"))
    workspace = Workspace(settings.read())
    plan(workspace, "try-1", {"dataset": ratings.as_uri(), "networks": ["mlp"], "epochs": 3})
    download(workspace, "try-1")
    validate(workspace, "try-1")
    split(workspace, "try-1")
    return workspace


def test_a_training_logs_and_stores_its_progress_and_returns_headline_figures(
    split_run: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    operator = GpuStepOperator(task_id="train_mlp", step="train", run_id="try-1", network="mlp")
    returned, store = execute(operator)
    result = split_run.read(network_key("try-1", "mlp", "train.json"), TrainResult)
    assert returned == {
        "key": "runs/try-1/mlp/train.json",
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 3),
    }
    key, last = store.values[-1]
    assert (key, last["done"], last["total"]) == ("progress", 3, 3)
    assert last["epoch"]["train_rmse"] == result.history[-1].train_rmse
    said = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("train mlp: epoch ") for line in said) == 3
    assert not any('{"work"' in line for line in said)
    assert f"starts {sys.executable} -m mftasks train --run-id try-1 --network mlp" in said


def test_a_step_that_ran_too_early_fails_at_once_and_says_why(split_run: Workspace) -> None:
    operator = GpuStepOperator(task_id="eval", step="evaluate", run_id="try-1", network="mlp")
    with pytest.raises(AirflowFailException, match=r"^evaluate mlp: MissingRecord: .*train\.json"):
        execute(operator)


@pytest.mark.parametrize("code", [64, 65, 66])
def test_an_error_that_a_retry_cannot_mend_fails_at_once(code: int) -> None:
    with pytest.raises(AirflowFailException, match=f"exit code {code}.*\nno good"):
        execute(scripted(f"import sys; print('no good', file=sys.stderr); sys.exit({code})"))


@pytest.mark.parametrize("code", [1, 69, 70])
def test_any_other_error_is_retried(code: int) -> None:
    with pytest.raises(AirflowException, match=f"exit code {code}") as caught:
        execute(scripted(f"import sys; sys.exit({code})"))
    assert not isinstance(caught.value, AirflowFailException)


def reports(error: str, code: int) -> str:
    return f"import sys; print('error {error}', file=sys.stderr); sys.exit({code})"


@pytest.mark.parametrize(
    ("error", "reason", "at_least"),
    [
        ("NoDeviceFree: waited 600 s for 1 of 1 devices", "device", 55),
        ("Interrupted: stopped by SIGTERM", "interruption", 0),
    ],
)
def test_waiting_for_a_device_and_being_stopped_use_up_no_try_and_are_visible(
    error: str, reason: str, at_least: int, sent: dict[tuple[str, ...], float]
) -> None:
    store = StateStore()
    began = datetime.now(UTC)
    for _ in range(2):
        with pytest.raises(AirflowRescheduleException) as raised:
            scripted(reports(error, 75)).execute({"task_state_store": store})
    later = raised.value.reschedule_date - began
    assert timedelta(seconds=at_least) < later < timedelta(seconds=120)
    waits = [value for key, value in store.values if key == "waiting"]
    assert waits[-1]["since"] == waits[0]["since"]
    assert (waits[-1]["reason"], waits[-1]["until"]) == (reason, None)
    assert waits[-1]["detail"] == error.partition(": ")[2]
    assert sent["mf.train.waiting_seconds", "mlp", reason] > 0


def test_a_child_that_sigterm_ended_before_it_could_answer_uses_up_no_try() -> None:
    with pytest.raises(AirflowRescheduleException):
        execute(scripted("import os; os.kill(os.getpid(), 15)"))


def test_a_training_that_was_killed_is_named_with_the_epoch_that_it_had_reached() -> None:
    tick = '{"work":"train mlp","done":8,"total":60,"unit":"epochs","epoch":' + EPOCH + "}"
    script = f"import os; print('device auto is the CPU here'); print('{tick}', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(AirflowException) as caught:
        execute(scripted(script))
    assert str(caught.value) == (
        "train mlp was killed (SIGKILL) after epoch 8 of 60; the next try resumes from the last checkpoint"
    )


EPOCH = (
    '{"epoch":8,"train_rmse":0.9,"valid_rmse":0.9,"learning_rate":0.1,"seconds":8,'
    '"ratings_per_second":100}'
)


def test_the_log_shows_the_sentence_that_helps_on_lines_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sentence = (
        "InvalidPlan: " + "there is no such thing as this, " * 5 + "choose device auto or cpu"
    )
    with pytest.raises(AirflowFailException, match=f"^train mlp: {sentence}$") as caught:
        execute(scripted(reports(sentence, 64)))
    assert caught.value.__suppress_context__
    shown = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert " ".join(shown) == f"train mlp: {sentence}"
    assert max(map(len, shown)) <= 100


def test_a_child_that_was_killed_from_outside_is_retried() -> None:
    with pytest.raises(AirflowException, match=r"killed \(SIGKILL\)") as caught:
        execute(scripted("import os; os.kill(os.getpid(), 9)"))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """Give a cgroup that may hold 100 MB, real memory of this host."""
    root = Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()
    folder = (root / "memory" if first else root) / f"mf-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if first else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(100 << 20))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield folder
    folder.rmdir()


def test_a_child_that_the_kernel_killed_for_memory_says_so_and_what_to_change(
    small_cgroup: Path,
) -> None:
    operator = scripted(
        "import os, pathlib\n"
        f"pathlib.Path({str(small_cgroup)!r}, 'cgroup.procs').write_text(str(os.getpid()))\n"
        "print('grows', flush=True); b'x' * 400_000_000"
    )
    with pytest.raises(AirflowException, match=r"lack of memory; lower batch_size"):
        execute(operator)


def test_final_exit_codes_are_those_of_errors_that_say_so() -> None:
    assert final_exit_codes() == {64, 65, 66}


def test_lines_that_are_no_ticks_reach_the_log_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(AirflowException):
        execute(scripted("import sys; print('{\"work\" half'); print('é', file=sys.stderr); 1/0"))
    said = [record.getMessage() for record in caplog.records]
    assert '{"work" half' in said
    assert "é" in said
    assert "ZeroDivisionError: division by zero" in said


def test_a_child_sees_the_store_and_its_device_but_no_secret_of_airflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {
        "AIRFLOW__API_AUTH__JWT_SECRET": "x",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "x",
        "AIRFLOW_HOME": "x",
        "_AIRFLOW__AS_LIBRARY": "x",
        "CELERY_BROKER_URL": "x",
        "SOME_TOKEN": "x",
        "AWS_SECRET_ACCESS_KEY": "kept",
        "CUDA_VISIBLE_DEVICES": "kept",
        "MF_STORE": "kept",
        "OMP_NUM_THREADS": "kept",
        "PATH": "kept",
        "https_proxy": "kept",
        "MF_NOTIFY_SMTP": "x",
    }
    seen = child_environment(given)
    assert {name for name, value in seen.items() if value == "x"} == set()
    assert {name for name, value in seen.items() if value == "kept"} == {
        name for name, value in given.items() if value == "kept"
    }
    assert seen["MF_PROGRESS"] == "json"
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "x")
    with pytest.raises(AirflowException, match=r"killed \(SIGKILL\)"):
        execute(
            scripted(
                "import os; assert not any(n.startswith('AIRFLOW') for n in os.environ);"
                "os.kill(os.getpid(), 9)"
            )
        )


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
    assert _gone(int(note.read_text()))


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

    before = psutil.Process().children()
    usual = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(TimedOut):
            execute(operator)
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert note.read_text() == "saved"
    assert psutil.Process().children() == before


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
    (checkpoint,) = split_run.store.list(network_key("long", "mlp", "checkpoints/"))
    assert int(Path(checkpoint).stem) >= 3


TASK = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from mf_airflow.tasks.gpu_step import GpuStepOperator
from mftasks import settings
from mftasks.steps import download, plan, split, validate
from mftasks.store.workspace import Workspace, run_key
from mftasks.records import RunPlan
workspace = Workspace(settings.read())
dataset = workspace.read(run_key("try-1", "plan.json"), RunPlan).dataset
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


def test_every_kind_of_record_has_headline_figures() -> None:
    assert set(headlines.OF_NETWORK) == {"train", "evaluate"}
    assert len(set(headlines.OF_RUN.values())) == len(headlines.OF_RUN) == 6


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


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
