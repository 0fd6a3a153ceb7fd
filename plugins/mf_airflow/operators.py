"""Run one heavy step of the pipeline in a process of its own, on a worker of the queue `gpu`.

    GpuStepOperator(task_id="train_mlp", step="train", run_id="nightly-7", network="mlp")

The child's memory, a GPU's above all, is free once it ends; MXNet is never forked; and the command
in the log can be pasted into a shell.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from mf_airflow import headlines
from mf_airflow.monitoring import Monitor
from mftasks import errors

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
KILL_AFTER_SECONDS = 3.0

# A child that runs our code and nothing of Airflow's needs no more than this; what a task has beside
# it are the secrets of the database and of the API.
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
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class GpuStepOperator(BaseOperator):
    """Run `python -m mftasks <step> --run-id … --network …`, and return its headline figures.

    The child's exit code decides: 0 succeeds; one that belongs to an error which a retry cannot
    mend fails at once; any other is retried.

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
        super().__init__(queue=queue, pool=pool, **kwargs)
        self.step = step
        self.run_id = run_id
        self.network = network
        self._child: subprocess.Popen[str] | None = None
        self._killed = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the child to its end, and return the key and headline figures of its record."""
        monitor = Monitor(context, self.network)
        with self._running() as child:
            for line in child.stdout or ():
                monitor.take(line.rstrip())
            code = child.wait()
        monitor.flush()
        self._judge(code, monitor.last_lines())
        return headlines.of_network(self.step, self.run_id, self.network)

    def on_kill(self) -> None:
        """Ask the child to stop, and kill it soon after; called twice or early, it is harmless."""
        already, self._killed = self._killed, True
        if already or self._child is None:
            return
        self._stop(self._child)

    def command(self) -> list[str]:
        """Return the command line of the child."""
        return [
            *(sys.executable, "-m", "mftasks", self.step),
            *("--run-id", self.run_id, "--network", self.network),
        ]

    @contextlib.contextmanager
    def _running(self) -> Iterator[subprocess.Popen[str]]:
        """Give the running child; nothing of its process group is left afterwards."""
        if self._killed:
            raise AirflowException(f"{self.task_id} was killed before it began")
        log.info("runs %s", shlex.join(self.command()))
        self._child = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=child_environment(os.environ),
            start_new_session=True,
        )
        if self._killed:
            self._stop(self._child)
        try:
            yield self._child
        finally:
            _signal_group(self._child, signal.SIGKILL)
            with self._child:  # waits for it, and closes its output
                pass

    def _stop(self, child: subprocess.Popen[str]) -> None:
        _signal_group(child, signal.SIGTERM)
        timer = threading.Timer(KILL_AFTER_SECONDS, _signal_group, (child, signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def _judge(self, code: int, said: str) -> None:
        if code == 0 and not self._killed:
            return
        outcome = f"signal {-code}" if code < 0 else f"exit code {code}"
        message = f"{self.step} {self.network} ended with {outcome}; it said last:\n{said}"
        if code in final_exit_codes():
            raise AirflowFailException(message)
        raise AirflowException(message)


def child_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that a child needs, and how it is to tell of progress."""
    passed = {
        name: value
        for name, value in given.items()
        if name in PASSED_ON or name.upper() in PROXIES or name.startswith(PASSED_ON_PREFIXES)
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


def _signal_group(child: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal all of the child's process group; a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
