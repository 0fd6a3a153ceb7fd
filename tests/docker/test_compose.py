"""docker-compose.yaml, as the real compose binary reads it: it starts, and is as shut as it can be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mftasks.settings import Settings
from mftasks.version import VERSION
from tests.docker import compose, dockerfile
from tests.docker.compose import ROOT

ONCE = {"airflow-init", "store-init"}
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker", "gpu-worker"}
OTHERS = {
    "postgres",
    "redis",
    "seaweedfs",
    "statsd-exporter",
    "prometheus",
    "alertmanager",
    "grafana",
}
SERVICES = ONCE | AIRFLOW | OTHERS
WORKERS = ("worker", "gpu-worker")

# Who can reach, or be reached by, what is not of this deployment.
OUTSIDE = {
    "alertmanager": "notifies people of alerts",
    "api-server": "the UI is published, and S3 may be another's",
    "dag-processor": "notifies people of failed runs",
    "gpu-worker": "downloads data sets",
    "grafana": "is published",
    "worker": "downloads data sets, and notifies people of late runs",
}


def test_without_an_env_it_says_once_what_to_do() -> None:
    refused = compose.config(compose.NOWHERE, "--quiet")
    assert refused.returncode != 0
    (sentence,) = refused.stderr.strip().splitlines()
    assert "run `make env` first" in sentence


def test_it_has_every_service(services: dict[str, Any]) -> None:
    assert set(services) == SERVICES


def test_the_bundled_store_is_the_default_and_gpus_are_not(env: Path) -> None:
    lines = env.read_text().splitlines()
    assert "COMPOSE_PROFILES=seaweedfs" in lines


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_can_do_no_more_than_it_has_to(services: dict[str, Any], name: str) -> None:
    service = services[name]
    uid, _, _ = service["user"].partition(":")
    assert int(uid) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service)
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) <= 2  # an engine refuses more than a host has
    assert int(limits["memory"]) >= 128 * 2**20


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_the_bounds_of_a_service_can_be_set(env: Path, name: str) -> None:
    prefix = f"MF_{name.upper().replace('-', '_')}"
    changed = compose.read(env, **{f"{prefix}_CPUS": "0.5", f"{prefix}_MEMORY": "777m"})
    limits = changed["services"][name]["deploy"]["resources"]["limits"]
    assert (limits["cpus"], int(limits["memory"])) == (0.5, 777 * 2**20)


@pytest.mark.parametrize("name", sorted(SERVICES - ONCE))
def test_a_service_that_stays_is_watched_and_started_again(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    assert service["logging"]["options"]["max-size"]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["healthcheck"]["start_period"]


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_is_done_once_is_not_done_again_and_again(services: dict[str, Any], name: str) -> None:
    assert services[name]["restart"] == "no"
    assert "healthcheck" not in services[name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_until_what_it_needs_is_ready(services: dict[str, Any], name: str) -> None:
    for other, how in services[name].get("depends_on", {}).items():
        if other == "statsd-exporter" and name != "prometheus":
            assert how == {"condition": "service_started", "required": False}  # see the next test
            continue
        done = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how["condition"] == done
        optional = services[other].get("profiles") not in (None, services[name].get("profiles"))
        assert how["required"] is not optional


def test_airflow_runs_without_its_metrics(services: dict[str, Any]) -> None:
    """No service waits until statsd-exporter is well, but for Prometheus, which has nothing else to ask."""
    waits = {
        name
        for name, service in services.items()
        if service.get("depends_on", {}).get("statsd-exporter", {}).get("required")
    }
    assert waits == {"prometheus"}


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    published = {
        name: [(port["host_ip"], port["target"]) for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    assert published == {"api-server": [("127.0.0.1", 8080)], "grafana": [("127.0.0.1", 3000)]}


def test_only_those_with_a_reason_are_on_a_network_that_leads_out(whole: dict[str, Any]) -> None:
    assert whole["networks"]["inside"]["internal"] is True
    networks = {name: set(service["networks"]) for name, service in whole["services"].items()}
    assert all("inside" in each for each in networks.values())
    assert {name for name, each in networks.items() if "outside" in each} == set(OUTSIDE)


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()}
    own = {f"movielens-mf:{VERSION}", f"movielens-mf-gpu:{VERSION}"}
    assert own <= images
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-alpine)?", image), image


def test_our_own_images_are_built_here_and_never_pulled(services: dict[str, Any]) -> None:
    built = {name: each["build"]["target"] for name, each in services.items() if "build" in each}
    assert built == {"airflow-init": "airflow", "gpu-worker": "gpu"}
    for name in ONCE | AIRFLOW:
        assert services[name]["pull_policy"] == ("build" if name in built else "never")


def test_workers_of_a_host_share_its_devices_locks_and_nothing_else(
    services: dict[str, Any],
) -> None:
    mounted = {name: _volumes(services[name]) for name in WORKERS}
    assert {each["/opt/airflow/leases"] for each in mounted.values()} == {"leases"}
    assert len({each["/opt/airflow/cache"] for each in mounted.values()}) == len(WORKERS)
    for name in WORKERS:
        assert services[name]["environment"]["MF_LEASES"] == "/opt/airflow/leases"
        assert services[name]["environment"]["MF_CACHE"] == "/opt/airflow/cache"


def test_every_volume_of_ours_has_a_folder_in_the_image_that_it_takes_its_owner_from(
    services: dict[str, Any],
) -> None:
    made = next(step.words for step in dockerfile.steps("airflow") if "mkdir" in step.words)
    names = re.search(r"mkdir ([\w ]+) &&", made)
    assert names is not None
    folders = {f"/opt/airflow/{name}" for name in names[1].split()}
    for name in ONCE | AIRFLOW:
        assert set(_volumes(services[name])) <= folders
        assert "/opt/airflow/home:uid=50000,gid=50000,mode=0700" in services[name]["tmpfs"]


def test_what_is_mounted_from_the_checkout_is_there_and_cannot_be_changed(
    services: dict[str, Any],
) -> None:
    mounts = [
        each
        for service in services.values()
        for each in service.get("volumes", [])
        if each["type"] == "bind"
    ]
    assert mounts
    for mount in mounts:
        assert mount["read_only"] is True
        assert Path(mount["source"]).relative_to(ROOT / "docker")
        assert Path(mount["source"]).is_dir()


def test_a_worker_that_is_stopped_may_finish_a_light_task(services: dict[str, Any]) -> None:
    assert {services[name]["stop_grace_period"] for name in WORKERS} == {"10m0s"}


def test_a_gpu_worker_takes_as_many_trainings_as_it_has_gpus(env: Path) -> None:
    service = compose.read(env, MF_GPUS="4")["services"]["gpu-worker"]
    (devices,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": 4, "capabilities": ["gpu"]}
    assert "--concurrency=4" in service["command"]
    assert "--queues=gpu" in service["command"]


def test_the_pool_is_as_large_as_the_settings_say(env: Path) -> None:
    command = compose.read(env, MF_TRAININGS_AT_ONCE="7")["services"]["airflow-init"]["command"]
    assert "--trainings-at-once=7" in command


def test_another_store_takes_the_place_of_the_bundled_one(env: Path) -> None:
    asked = {"MF_STORE": "s3://mine/there", "MF_S3_ENDPOINT": "", "AWS_DEFAULT_REGION": "eu-west-1"}
    services = compose.read(env, **asked)["services"]
    for name in ("api-server", *WORKERS):
        variables = services[name]["environment"]
        assert {key: variables[key] for key in asked} == asked
    for name in ("seaweedfs", "store-init"):
        assert services[name]["profiles"] == ["seaweedfs"]


def test_workers_get_every_setting_of_steps(services: dict[str, Any]) -> None:
    asked = {f"MF_{field.upper()}" for field in Settings.__struct_fields__} - {"MF_PROGRESS"}
    for name in WORKERS:
        assert asked <= services[name]["environment"].keys()


def test_all_of_airflow_shares_the_settings_of_every_deployment(services: dict[str, Any]) -> None:
    lines = (ROOT / "docker" / "airflow.env").read_text().splitlines()
    shared = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for name in ONCE | AIRFLOW:
        assert shared.items() <= services[name]["environment"].items()


def _volumes(service: dict[str, Any]) -> dict[str, str]:
    mounts = service.get("volumes", [])
    return {each["target"]: each["source"] for each in mounts if each["type"] == "volume"}
