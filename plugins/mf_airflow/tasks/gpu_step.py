"""Run one heavy step of the pipeline in a process of its own, on a worker of the queue `gpu`.

    GpuStepOperator(task_id="train_mlp", step="train", run_id="nightly-7", network="mlp")

The child's memory, a GPU's above all, is free once it ends; MXNet is never forked; and the command
in the log can be pasted into a shell. The child leases its devices itself. It runs under a guard, so
that it does not outlive the task process, whatever ends that.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
)

from mf_airflow.monitoring import gauges
from mf_airflow.monitoring.ticks import Monitor
from mf_airflow.tasks import guard, headlines
from mf_airflow.tasks.failure import fail
from mftasks import errors
from mftasks.devices import memory

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mf_airflow.monitoring.ticks import Reason

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
KILL_AFTER_SECONDS = 3.0  # Airflow itself kills the task process after 5
DEVICE_RETRY_SECONDS = 60.0
RESUME_SECONDS = 5.0
SIGNALLED = 128  # as in a shell, an exit code of 128 + n means signal n

# A child runs our code and nothing of Airflow's. What else a task's environment holds are secrets: of
# the database, of the API, and of the addresses that notifications go to.
PASSED_ON = (
    "HOME",
    "HOSTNAME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PYTHONPATH",
    "REQUESTS_CA_BUNDLE",
    "TMPDIR",
    "TZ",
    "USER",
)
PASSED_ON_PREFIXES = (
    "AWS_",
    "CUDA_",
    "LC_",
    "MF_",
    "MKL_",
    "MXNET_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "PIP_",
    "SSL_",
)
POD_TEMPLATE = "MF_GPU_POD_TEMPLATE"
NEVER_PASSED_ON = "MF_NOTIFY_"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class GpuStepOperator(BaseOperator):
    """Run `python -m mftasks <step> --run-id … --network …`, and return its headline figures.

    The child's exit code decides: 0 succeeds; one of an error that a retry cannot fix fails at once; any
    other is retried. A child that must stop gets SIGTERM, upon which a training stores its checkpoint; it
    is killed with all its children 3 s later.

    A child that found no free device, or that was stopped, uses up no try: the task is rescheduled, and the
    training resumes. If a person has marked or cleared the task, Airflow ignores that it asks for more.

    Under KubernetesExecutor, a training runs in a pod made from the file that MF_GPU_POD_TEMPLATE names;
    the scheduler reads it there. Other executors do not look at it.

    :param step: the step to run: train or evaluate. (templated)
    :param run_id: the run that the step belongs to. (templated)
    :param network: the network to train or evaluate. (templated)
    """

    template_fields: Sequence[str] = ("step", "run_id", "network")
    ui_color = "#e8f0d8"

    def __init__(
        self,
        *,
        step: str,
        run_id: str,
        network: str,
        queue: str = "gpu",
        pool: str = "gpu",
        **kwargs: Any,
    ) -> None:
        if step == "train":
            kwargs.setdefault("executor_config", make_executor_config(os.environ))
        super().__init__(queue=queue, pool=pool, **kwargs)
        self.step = step
        self.run_id = run_id
        self.network = network
        self._child: subprocess.Popen[str] | None = None
        self._killed = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the child to its end, and return the key and headline figures of its record."""
        monitor = Monitor(context, self.network)
        oom_kills = memory.oom_kills()
        code = self._run_child(monitor)
        monitor.flush()
        if code == 0:
            return headlines.summarize_network(self.step, self.run_id, self.network)
        gauges.count_exit(self.step, code)
        if self._killed or code in (errors.Interrupted.exit_code, SIGNALLED + signal.SIGTERM):
            _reschedule(monitor)
        outcome = self._explain(code, monitor, starved=memory.oom_kills() > oom_kills)
        final = code in list_final_exit_codes()
        return fail(outcome, AirflowFailException if final else AirflowException)

    def on_kill(self) -> None:
        """Ask the child to stop; a second call, or one before there is a child, is harmless."""
        self._killed = True
        if self._child is not None:
            self._child.terminate()

    def command(self) -> list[str]:
        """Return the command line of the child."""
        return [
            *(sys.executable, "-m", "mftasks", self.step),
            *("--run-id", self.run_id, "--network", self.network),
        ]

    def _run_child(self, monitor: Monitor) -> int:
        """Return the exit code of the child; nothing of it is left afterwards."""
        if self._killed:
            return errors.Interrupted.exit_code
        log.info("starts %s", shlex.join(self.command()))
        self._child = subprocess.Popen(
            guard.command(*self.command(), grace=KILL_AFTER_SECONDS),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=make_child_environment(os.environ),
            start_new_session=True,
        )
        if self._killed:
            self._child.terminate()
        with self._child as child:  # waits for it in the end, and closes its output
            try:
                for line in child.stdout or ():
                    monitor.take(line.rstrip())
                return child.wait()
            finally:
                child.terminate()

    def _explain(self, code: int, monitor: Monitor, *, starved: bool) -> str:
        """Return why the child failed: what it reported, else how it ended and its last lines."""
        name = f"{self.step} {self.network}"
        if (reported := monitor.find_error()) is not None:
            return f"{name}: {reported.kind}: {reported.message}"
        if code <= SIGNALLED:
            return f"{name} ended with exit code {code}; its last lines:\n{monitor.last_lines()}"
        if code == SIGNALLED + signal.SIGKILL and starved:
            return f"{name} was killed for lack of memory{monitor.held()}; {memory.ADVICE}"
        killer = signal.Signals(code - SIGNALLED).name
        goes_on = "resumes from the last checkpoint" if self.step == "train" else "starts over"
        return f"{name} was killed ({killer}){monitor.reached()}; the next try {goes_on}"


def _reschedule(monitor: Monitor) -> NoReturn:
    """Ask Airflow to start the task again soon, in the same try, and report what it waits for."""
    reported = monitor.find_error()
    if reported is not None and reported.kind == errors.NoDeviceFree.__name__:
        reason: Reason = "device"
        seconds = DEVICE_RETRY_SECONDS
    else:
        reason, seconds = "interruption", RESUME_SECONDS
    detail = reported.message if reported else f"it was stopped{monitor.reached()}"
    monitor.report_wait(reason, detail)
    monitor.flush()
    log.info("%s; starts again in %.0f s and goes on; no try is used up", detail, seconds)
    again_at = datetime.now(UTC) + timedelta(seconds=seconds)
    raise AirflowRescheduleException(again_at)  # type: ignore[no-untyped-call]


def make_executor_config(given: Mapping[str, str]) -> dict[str, str]:
    """Return what KubernetesExecutor makes the pod of a training from."""
    template = given.get(POD_TEMPLATE)
    return {"pod_template_file": template} if template else {}


def make_child_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that a child needs, and how it reports progress."""
    passed = {
        name: value
        for name, value in given.items()
        if (name in PASSED_ON or name.upper() in PROXIES or name.startswith(PASSED_ON_PREFIXES))
        and not name.startswith(NEVER_PASSED_ON)
    }
    places = [str(ROOT), *filter(None, [passed.get("PYTHONPATH")])]
    return passed | {
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONUNBUFFERED": "1",
        "MF_PROGRESS": "json",
    }


def list_final_exit_codes() -> frozenset[int]:
    """Return the exit codes of errors that a retry cannot fix."""
    return frozenset(
        kind.exit_code for kind in errors.MfError.__subclasses__() if not kind.retryable
    )
