"""The pod templates, against Kubernetes' own schema, and how a training gets the one with a GPU."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mftasks import networks

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "kubernetes"
LIGHT, GPU = FOLDER / "pod-template.yaml", FOLDER / "pod-template-gpu.yaml"
VERSIONS = ("1.34", "1.35", "1.36", "1.37")


@pytest.fixture(params=[LIGHT, GPU], ids=["light", "gpu"])
def template(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_template_is_what_kubernetes_takes(template: dict[str, Any], version: str) -> None:
    assert kubernetes_validate.validate(template, version, strict=True)


def misspell(pod: dict[str, Any]) -> None:
    pod["spec"]["terminationGracePeriodSecond"] = 60


def quote(pod: dict[str, Any]) -> None:
    pod["spec"]["terminationGracePeriodSeconds"] = "60"


def indent(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = {"value": True}


def forget_name(pod: dict[str, Any]) -> None:
    del pod["spec"]["containers"][0]["name"]


def empty(pod: dict[str, Any]) -> None:
    del pod["spec"]["containers"]


@pytest.mark.parametrize("break_it", [misspell, quote, indent, forget_name, empty])
def test_a_broken_template_is_refused(template: dict[str, Any], break_it: Any) -> None:
    broken = copy.deepcopy(template)
    break_it(broken)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_the_executor_finds_its_container(template: dict[str, Any]) -> None:
    [container] = template["spec"]["containers"]
    assert container["name"] == "base"
    assert "command" not in container
    assert "args" not in container
    assert template["spec"]["restartPolicy"] == "Never"


def test_a_pod_may_do_no_more_than_it_has_to(template: dict[str, Any]) -> None:
    [container] = template["spec"]["containers"]
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert template["spec"]["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_a_pod_writes_to_is_a_volume_of_its_own(template: dict[str, Any]) -> None:
    [container] = template["spec"]["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert set(mounted.values()) == set(volumes)
    assert {name for name in volumes if "emptyDir" in volumes[name]} == {
        *("cache", "leases", "home", "tmp")
    }
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert mounted[variables["MF_CACHE"]] == "cache"
    assert mounted[variables["MF_LEASES"]] == "leases"


def test_secrets_are_not_in_the_template(template: dict[str, Any]) -> None:
    [container] = template["spec"]["containers"]
    for variable in container["env"]:
        secret = re.search("KEY|SECRET|PASSWORD|TOKEN", variable["name"])
        assert ("secretKeyRef" in variable.get("valueFrom", {})) == bool(secret), variable["name"]


def test_a_training_has_one_gpu_and_nothing_else_has_any() -> None:
    assert limits(GPU)["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits(LIGHT)


def limits(path: Path) -> dict[str, Any]:
    return read(path)["spec"]["containers"][0]["resources"]["limits"]


def test_amounts_are_words_as_newer_clients_take_nothing_else(template: dict[str, Any]) -> None:
    for amounts in template["spec"]["containers"][0]["resources"].values():
        assert all(isinstance(amount, str) for amount in amounts.values())


def test_the_two_differ_in_what_a_gpu_needs_and_in_nothing_else() -> None:
    light, gpu = read(LIGHT), read(GPU)
    for pod in (light, gpu):
        del pod["metadata"]["labels"]
        del pod["spec"]["terminationGracePeriodSeconds"]
        del pod["spec"]["containers"][0]["image"]
        del pod["spec"]["containers"][0]["resources"]
    del gpu["spec"]["tolerations"]
    assert light == gpu


def test_images_users_and_folders_are_those_of_the_compose_file(template: dict[str, Any]) -> None:
    compose = (ROOT / "docker-compose.yaml").read_text()
    [container] = template["spec"]["containers"]
    user = template["spec"]["securityContext"]["runAsUser"]
    assert f"image: {container['image']}\n" in compose
    assert f'user: "{user}:{user}"' in compose
    for mount in container["volumeMounts"]:
        assert mount["mountPath"] in compose


# What the scheduler gets of the DAG file, with the variable and without.
PARSE = """
import importlib, json, os
from airflow.serialization.serialized_objects import DagSerialization
import movielens_mf
def configs():
    tasks = [task["__var"] for task in DagSerialization.to_dict(movielens_mf.dag)["dag"]["tasks"]]
    return {task["task_id"]: task.get("executor_config") for task in tasks}
named = configs()
del os.environ["MF_GPU_POD_TEMPLATE"]
importlib.reload(movielens_mf)
print("PARSED", json.dumps([named, configs()]))
"""


def test_trainings_and_they_alone_get_the_template_that_a_variable_names(tmp_path: Path) -> None:
    places = (str(ROOT / name) for name in (".", "plugins", "dags"))
    variables = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "MF_GPU_POD_TEMPLATE": str(GPU),
        "PYTHONPATH": os.pathsep.join(places),
    }
    command = [sys.executable, "-c", PARSE]
    parsed = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert parsed.returncode == 0, parsed.stderr
    named, unnamed = json.loads(parsed.stdout.partition("PARSED ")[2])
    trainings = {f"train_{name}" for name in networks.names()}
    assert {task for task, config in named.items() if config} == trainings
    for task in trainings:
        assert str(GPU) in json.dumps(named[task])
    assert not any(unnamed.values())
