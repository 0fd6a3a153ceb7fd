"""Run one heavy step of the pipeline in a process of its own, on a worker of the queue `gpu`.

    GpuStepOperator(task_id="train_mlp", step="train", run_id="nightly-7", network="mlp")

The child's memory, a GPU's above all, is free once it ends; MXNet is never forked; and the command
in the log can be pasted into a shell. The child leases its devices itself. It runs under a guard, so
that it does not outlive the task process, whatever ends that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from mf_airflow.monitoring import gauges
from mf_airflow.monitoring.ticks import Monitor
from mf_airflow.tasks import guard, headlines
from mftasks import errors
from mftasks.devices import memory

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
KILL_AFTER_SECONDS = 3.0  # Airflow itself kills the task process after 5
SIGNALLED = 128  # as in a shell, an exit code of 128 + n means signal n

# A child that runs our code and nothing of Airflow's needs no more than this; what a task has beside
# it are the secrets of the database and of the API, and of whom a failure is told to.
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

    The child's exit code decides: 0 succeeds; one that belongs to an error which a retry cannot
    mend fails at once; any other is retried. A child that has to stop is asked by SIGTERM, upon which
    a training puts its checkpoint, and is killed with all its children 3 s later.

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
            kwargs.setdefault("executor_config", executor_config(os.environ))
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
        with self._running() as child:
            for line in child.stdout or ():
                monitor.take(line.rstrip())
            code = child.wait()
        monitor.flush()
        if code != 0 or self._killed:
            self._fail(code, monitor, starved=memory.oom_kills() > oom_kills)
        return headlines.of_network(self.step, self.run_id, self.network)

    def on_kill(self) -> None:
        """Have the child stopped; called twice or early, it is harmless."""
        self._killed = True
        if self._child is not None:
            self._child.terminate()

    def command(self) -> list[str]:
        """Return the command line of the child."""
        return [
            *(sys.executable, "-m", "mftasks", self.step),
            *("--run-id", self.run_id, "--network", self.network),
        ]

    @contextlib.contextmanager
    def _running(self) -> Iterator[subprocess.Popen[str]]:
        """Give the child's guard; nothing of the child is left afterwards."""
        if self._killed:
            raise AirflowException(f"{self.task_id} was killed before it began")
        log.info("runs %s", shlex.join(self.command()))
        self._child = subprocess.Popen(
            guard.command(*self.command(), grace=KILL_AFTER_SECONDS),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=child_environment(os.environ),
            start_new_session=True,
        )
        if self._killed:
            self._child.terminate()
        try:
            yield self._child
        finally:
            self._child.terminate()
            with self._child:  # waits for it, and closes its output
                pass

    def _fail(self, code: int, monitor: Monitor, *, starved: bool) -> NoReturn:
        gauges.exited(self.step, code)
        if code <= SIGNALLED:
            outcome = f"ended with exit code {code}"
        elif code == SIGNALLED + signal.SIGKILL and starved and not self._killed:
            outcome = f"was killed for want of memory{monitor.held()}; {memory.ADVICE}"
        else:
            outcome = f"was ended by {signal.Signals(code - SIGNALLED).name}"
        message = f"{self.step} {self.network} {outcome}; it said last:\n{monitor.last_lines()}"
        if code in final_exit_codes():
            raise AirflowFailException(message)
        raise AirflowException(message)


def executor_config(given: Mapping[str, str]) -> dict[str, str]:
    """Return what KubernetesExecutor makes the pod of a training from."""
    template = given.get(POD_TEMPLATE)
    return {"pod_template_file": template} if template else {}


def child_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that a child needs, and how it is to tell of progress."""
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


def final_exit_codes() -> frozenset[int]:
    """Return the exit codes of errors that a retry cannot mend."""
    return frozenset(
        kind.exit_code for kind in errors.MfError.__subclasses__() if not kind.retryable
    )
