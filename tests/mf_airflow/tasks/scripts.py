from __future__ import annotations

import sys
from typing import Any

from mf_airflow.tasks.gpu_step import GpuStepOperator
from tests.mf_airflow.state_store import StateStore


class Scripted(GpuStepOperator):
    """Run a script of a test's own instead of a step."""

    script: str

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]


def scripted(script: str, step: str = "train") -> Scripted:
    operator = Scripted(task_id=f"{step}_mlp", step=step, run_id="try-1", network="mlp")
    operator.script = script
    return operator


def execute(operator: GpuStepOperator) -> tuple[Any, StateStore]:
    store = StateStore()
    return operator.execute({"task_state_store": store}), store


def reports(error: str, code: int) -> str:
    return f"import sys; print('error {error}', file=sys.stderr); sys.exit({code})"
