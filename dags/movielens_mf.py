"""Retrain, evaluate and publish the rating-prediction networks, weekly or on a click.

One task a step. Light steps run in the task's own process; trainings and evaluations run on
workers of the queue `gpu`, side by side. Steps hand records to each other through the object store
at MF_STORE; XCom carries a key and a few headline figures.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import Context, TriggerRule, XComArg, chain, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from mf_airflow.monitoring import notifications
from mf_airflow.tasks import deadline, light_steps
from mf_airflow.tasks.form import trigger_params
from mf_airflow.tasks.gpu_step import GpuStepOperator
from mftasks import networks

DOC = """
### Retraining of rating-prediction networks

`plan` resolves every parameter once, and refuses unknown ones. Then the data are downloaded and
verified, validated, and split; the networks train **side by side**; each *exported* model is
evaluated on the test part; a report with a comparison plot is drawn; and everything is published to
the object store, the manifest last.

* **Trigger** with the form: a parameter that is left empty is as the preset says.
* **Results** lie at `runs/<run id>/` of the object store; `manifest.json` lists them.
* **When it fails**: the log of the red task ends with what was wrong and what would be right.
  Clear that task to go on from there. No step repeats what is done already.
"""

RUN_ID = "{{ store_run_id(dag_run.run_id) }}"


@task(task_id="plan", multiple_outputs=False)
def plan_run(run: str, params: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Resolve every parameter; those of the run's own configuration are seen even if unknown."""
    return light_steps.plan(run, {**params, **(dag_run.conf or {})})


def light(step: str, **options: Any) -> XComArg:
    """Return a task that runs a light step."""

    @task(task_id=step, multiple_outputs=False, **options)
    def do(run: str) -> dict[str, Any]:
        return light_steps.step(step, run)

    return do(RUN_ID)


def heavy(step: str, network: str, **options: Any) -> GpuStepOperator:
    """Return a task that runs a step on one network, on a worker of the queue `gpu`.

    A retry resumes, so that it costs little: there are more of them, and no growing delay.
    """
    return GpuStepOperator(
        task_id=f"{step}_{network}",
        step=step,
        run_id=RUN_ID,
        network=network,
        retries=5,
        retry_exponential_backoff=0,
        **options,
    )


def skip_unless_chosen(network: str, context: Context) -> None:
    """Skip the training of a network that the plan does not name."""
    chosen = context["ti"].xcom_pull(task_ids="plan")["networks"]
    if network not in chosen:
        raise AirflowSkipException(f"{network} was not chosen; this run trains {', '.join(chosen)}")


@dag(
    dag_id="movielens_mf",
    schedule="@weekly",
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 4,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "on_failure_callback": notifications.keep_error,
    },
    on_failure_callback=notifications.run_failed,
    deadline=deadline.deadline(),
    params=trigger_params(),
    user_defined_macros={"store_run_id": light_steps.store_run_id},
    doc_md=DOC,
    tags=["movielens", "mxnet", "training"],
)
def movielens_mf() -> None:
    """Wire the steps."""
    parted = light("split")
    chain(plan_run(RUN_ID), light("download"), light("validate"), parted)
    report = light("report", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    for network in networks.names():
        train = heavy("train", network, pre_execute=partial(skip_unless_chosen, network))
        chain(parted, train, heavy("evaluate", network), report)
    chain(report, light("publish"))


movielens_mf()
