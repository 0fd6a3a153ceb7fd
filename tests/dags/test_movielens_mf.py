"""What the scheduler sees of the DAG, parsed in a fresh process as Airflow does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mftasks import networks, params
from mftasks.data import catalog
from mftasks.params import choices

ROOT = Path(__file__).parents[2]
HEAVY = (
    "mxnet",
    "numpy",
    "pandas",
    "pyarrow",
    "bokeh",
    "boto3",
    "botocore",
    "mftasks.mx",
)

PARSE = """
import json, sys, time
import airflow.sdk
before = set(sys.modules)
began = time.process_time()
import movielens_mf
seconds = time.process_time() - began
dag = movielens_mf.dag
print("PARSED", json.dumps({
    "seconds": seconds,
    "imported": sorted(set(sys.modules) - before),
    "arrows": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
    "gpu": sorted(task.task_id for task in dag.tasks if task.queue == task.pool == "gpu"),
    "retries": {task.task_id: [task.retries, task.retry_exponential_backoff] for task in dag.tasks},
    "report_rule": dag.get_task("report").trigger_rule,
    "schedule": dag.schedule.summary, "catchup": dag.catchup, "max_active_runs": dag.max_active_runs,
    "dag_id": dag.dag_id, "doc": dag.doc_md,
    "run_failed": [called.__name__ for called in [dag.on_failure_callback]],
    "task_failed": {task.task_id: [called.__name__ for called in task.on_failure_callback]
                    for task in dag.tasks},
    "late": [[alert.reference.reference_name, alert.interval.total_seconds(), alert.callback.path]
             for alert in dag.deadline or []],
    "params": {name: {"value": param.value, "description": param.description, **param.schema}
               for name, param in dag.params._ParamsDict__dict.items()},
}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "plugins", "dags")),
    }
    asked = subprocess.run(
        [sys.executable, "-c", PARSE], env=environment, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout.partition("PARSED ")[2])


def test_parsing_the_dag_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert [name for name in HEAVY if name in parsed["imported"]] == []
    assert parsed["seconds"] < 1.0


def test_there_is_one_task_a_step_and_a_training_and_an_evaluation_a_network(
    parsed: dict[str, Any],
) -> None:
    names = networks.names()
    assert parsed["dag_id"] == "movielens_mf"
    assert parsed["arrows"] == {
        "plan": ["download"],
        "download": ["validate"],
        "validate": ["split"],
        "split": [f"train_{name}" for name in names],
        **{f"train_{name}": [f"evaluate_{name}"] for name in names},
        **{f"evaluate_{name}": ["report"] for name in names},
        "report": ["publish"],
        "publish": [],
    }


def test_trainings_and_evaluations_go_to_the_gpu_workers(parsed: dict[str, Any]) -> None:
    assert parsed["gpu"] == sorted(
        f"{step}_{name}" for step in ("train", "evaluate") for name in networks.names()
    )


def test_it_runs_weekly_one_at_a_time_and_never_catches_up(parsed: dict[str, Any]) -> None:
    assert (parsed["schedule"], parsed["catchup"], parsed["max_active_runs"]) == (
        "At 00:00, only on Sunday",
        False,
        1,
    )


def test_every_task_is_retried_and_those_that_resume_without_a_growing_delay(
    parsed: dict[str, Any],
) -> None:
    resuming = {task for task in parsed["retries"] if task.startswith(("train_", "evaluate_"))}
    assert resuming == set(parsed["gpu"])
    for task, retries in parsed["retries"].items():
        assert retries == ([5, 0] if task in resuming else [4, 2.0])


def test_the_report_is_drawn_of_the_networks_that_were_chosen(parsed: dict[str, Any]) -> None:
    assert parsed["report_rule"] == "none_failed_min_one_success"


def test_people_are_notified_of_a_run_that_fails_or_is_late(parsed: dict[str, Any]) -> None:
    assert parsed["run_failed"] == ["run_failed"]
    assert set(map(tuple, parsed["task_failed"].values())) == {("keep_error",)}
    assert parsed["late"] == [
        ["Creation", 12 * 3600.0, "mf_airflow.monitoring.notifications.deadline_missed"]
    ]


def test_the_form_has_every_parameter_with_title_description_and_section(
    parsed: dict[str, Any],
) -> None:
    assert list(parsed["params"]) == [one.name for one in choices.list_choices()]
    for name, field in parsed["params"].items():
        assert field["title"], name
        assert field["description"].endswith("."), name
        assert field.get("section", "") in choices.SECTIONS, name


def test_what_people_change_first_is_in_no_section_and_so_open(parsed: dict[str, Any]) -> None:
    unfolded = [name for name, field in parsed["params"].items() if "section" not in field]
    assert unfolded == ["dataset", "networks", "preset"]


def test_the_form_shows_what_an_empty_field_stands_for(parsed: dict[str, Any]) -> None:
    descriptions = {name: field["description"] for name, field in parsed["params"].items()}
    assert "Empty: 10 for linear, 12 for mlp and resnet; notebook: 25 for" in descriptions["epochs"]
    assert descriptions["dropout"].endswith("Empty: 0.4 for resnet; notebook: 0.5 for resnet.")
    for name, field in parsed["params"].items():
        if field["value"] is None and field.get("section") in ("Training", "Network"):
            assert "Empty: " in descriptions[name]


@pytest.mark.parametrize(
    ("name", "refused", "accepted"),
    [
        (
            "dataset",
            ["ml-1oom", "file://host/r.csv", "ftp://a/r.csv", "s3://a/", "r.csv", ""],
            ["ml-1m", "s3://a/b.csv", "/data/r.csv", "s3://a/b/", "https://a/r", "file:///a/*.csv"],
        ),
        ("networks", [["mpl"], ["mlp", "mlp"]], [["mlp", "linear"], None]),
        ("test_from", ["spring", "1998-4-1"], ["1998-04-01", "1998-04-01T12:00:00+02:00", None]),
        ("as_of", ["1998"], ["1998-04-01 12:00"]),
        ("seed", [2**70, -1], [0, 2**31 - 1]),
        ("patience", [2**70], [0, None]),
        ("devices", [10**6, 0], [2]),
        ("learning_rate", [1e308, 0], [0.1]),
        ("batch_size", [10**9], [100, 100.0]),
        ("test_fraction", [1e-300, 1], [0.5]),
        ("dropout", [1, -0.1], [0.5]),
    ],
)
def test_the_form_refuses_what_plan_would(
    parsed: dict[str, Any], name: str, refused: list[Any], accepted: list[Any]
) -> None:
    from airflow.sdk import Param
    from airflow.sdk.exceptions import ParamValidationError

    field = parsed["params"][name]
    for value in accepted:
        assert Param(None, schema=field).resolve(value) == value
    for value in refused:
        with pytest.raises(ParamValidationError):
            Param(None, schema=field).resolve(value)


def test_the_form_suggests_what_there_is_to_choose_from(parsed: dict[str, Any]) -> None:
    fields = parsed["params"]
    assert fields["dataset"]["examples"] == list(catalog.DATASETS)
    assert fields["networks"]["examples"] == list(networks.names())
    assert fields["networks"]["type"] == ["array", "null"]
    assert fields["preset"]["enum"] == ["default", "notebook", None]


def test_every_field_but_the_data_set_may_stay_empty(parsed: dict[str, Any]) -> None:
    for name, field in parsed["params"].items():
        if name != "dataset":
            assert "null" in field.get("type", ["null"]), name
            assert None in field.get("enum", [None]), name
    assert parsed["params"]["epochs"]["type"] == ["integer", "null"]
    assert parsed["params"]["learning_rate"]["type"] == ["number", "null"]
    assert parsed["params"]["biases"]["enum"] == [True, False, None]
    assert parsed["params"]["schedule"]["enum"] == ["constant", "cosine", "factor", None]


def test_what_the_form_holds_is_a_valid_plan(parsed: dict[str, Any]) -> None:
    untouched = {name: field["value"] for name, field in parsed["params"].items()}
    assert params.parse(untouched) == params.parse({})
