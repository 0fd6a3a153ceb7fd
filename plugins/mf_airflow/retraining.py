"""Make a DAG that retrains, evaluates and publishes on one data set, by a schedule or on a click.

    from mf_airflow.retraining import retraining

    dag = retraining("books_mf", "s3://shop/ratings.parquet", "@daily", {"networks": ["mlp"]})

One task per step. Light steps run in the task's own process; trainings and evaluations run on
workers of the queue `gpu`, side by side. Steps hand records to each other through the object store
at MF_STORE; XCom carries a key and a few headline figures.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Context, TaskGroup, TriggerRule, XComArg, chain, task
from airflow.sdk.exceptions import AirflowSkipException

from mf_airflow.monitoring import notifications
from mf_airflow.tasks import deadline, light_steps, run_ids
from mf_airflow.tasks.form import make_params
from mf_airflow.tasks.gpu_step import GpuStepOperator
from mf_airflow.tasks.timetable import make_timetable
from mftasks import networks
from mftasks.data import catalog, uris
from mftasks.records import DagRun

if TYPE_CHECKING:
    from airflow.sdk.definitions.dag import ScheduleArg

DOC = """
### Retraining of rating-prediction networks

`plan` resolves every parameter once, and refuses unknown ones. Then the data are downloaded and
verified, validated, and split; the networks train **side by side**; each *exported* model is
evaluated on the test part; a report with a comparison plot is drawn; and everything is published to
the object store, the manifest last.

* **Trigger** with the form: a parameter that is left empty comes from the preset.
* **Results** lie at `runs/<id>/` of the object store; `plan` returns the id as `run_id`, and
  `manifest.json` lists them.
* **When it fails**: the log of the red task shows what was wrong and what would be right.
  Clear that task to go on from there. No step repeats what is done already.
"""

RUN_ID = "{{ store_run_id(ti) }}"

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "movielens-mf",
    "retries": 4,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "on_failure_callback": notifications.keep_error,
}


def retraining(
    dag_id: str,
    dataset: str,
    schedule: ScheduleArg = "@weekly",
    defaults: Mapping[str, Any] | None = None,
    **options: Any,
) -> DAG:
    """Return the DAG `dag_id`, which retrains on `dataset` by `schedule`.

    A cron schedule is in UTC, and begins when the file that calls this was last changed.
    `defaults` are what the trigger form has in the place of what `mftasks.params` describes; `options`
    are Airflow's own of a DAG, such as `tags`, `max_active_runs` or `default_args`.
    """
    dataset = uris.complete(dataset)
    chosen = {
        "schedule": make_timetable(schedule, inspect.stack(context=0)[1].filename),
        "dag_display_name": f"{dag_id}: retraining on {catalog.identify(dataset)}",
        "description": f"Retrains rating prediction on {dataset}, evaluates and publishes",
        "doc_md": DOC + _describe_broken(),
        "tags": ["retraining", "mxnet"],
        "catchup": False,
        "max_active_runs": 1,
        "on_failure_callback": notifications.run_failed,
        "deadline": deadline.read_deadline(),
        **options,
        "default_args": {**TASK_DEFAULTS, **options.get("default_args", {})},
    }
    with DAG(
        dag_id,
        params=make_params({**(defaults or {}), "dataset": dataset}),
        user_defined_macros={"store_run_id": run_ids.read_run_id},
        **chosen,
    ) as dag:
        _add_tasks()
    return dag


def _describe_broken() -> str:
    """Name the networks that cannot be used, as Airflow shows it with the DAG."""
    return "".join(f"* **Left out**: {error}\n" for error in networks.survey()[1].values())


def _add_tasks() -> None:
    """Add the tasks to the current DAG, and the arrows between them."""
    planned = plan_run()
    with TaskGroup("data", prefix_group_id=False):
        parted = _add_light("split")
        chain(planned, _add_light("download"), _add_light("validate"), parted)
    with TaskGroup("result", prefix_group_id=False):
        report = _add_light("report", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
        chain(report, _add_light("publish"))
    for network in networks.names():
        with TaskGroup(f"network_{network}", prefix_group_id=False):
            skip = partial(skip_unless_chosen, network)
            train = _add_heavy("train", network, pre_execute=skip)
            chain(parted, train, _add_heavy("evaluate", network), report)


@task(task_id=run_ids.PLAN, multiple_outputs=False)
def plan_run(
    params: Any = None, dag_run: Any = None, task_state_store: Any = None
) -> dict[str, Any]:
    """Resolve every parameter; those of the run's own configuration are seen even if unknown."""
    run_id = run_ids.choose(dag_run.dag_id, dag_run.run_id, task_state_store)
    made_for = DagRun(dag_id=dag_run.dag_id, run_id=dag_run.run_id)
    return light_steps.plan(run_id, {**params, **(dag_run.conf or {})}, made_for)


def _add_light(step: str, **options: Any) -> XComArg:
    """Add a task that runs a light step."""

    @task(task_id=step, multiple_outputs=False, **options)
    def run(store_run: str) -> dict[str, Any]:  # `run_id` is a name of Airflow's context
        return light_steps.run_step(step, store_run)

    return run(RUN_ID)


def _add_heavy(step: str, network: str, **options: Any) -> GpuStepOperator:
    """Add a task that runs a step on one network, on a worker of the queue `gpu`.

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
    """Skip the training of a network that the plan does not name, with the reason."""
    chosen = run_ids.read_plan(context["ti"])["networks"]
    if network not in chosen:
        why = networks.survey()[1].get(network, f"{network} was not chosen")
        raise AirflowSkipException(f"{why}; this run trains {', '.join(chosen)}")
