"""docker-compose.yaml at work, with all its services but Grafana: from a clean copy to a published run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
import yaml

from mf_airflow.embedded.rest import DAG
from mftasks import networks
from tests.deployment import deployed
from tests.deployment.deployed import BUCKET, Deployed
from tests.deployment.engine import network
from tests.deployment.engine.compose import PATIENCE_SECONDS
from tests.deployment.engine.service import seconds
from tests.deployment.watched import Watched, read_values, watch
from tests.docker.compose import ROOT
from tests.docker.keys import is_refused
from tests.monitoring.prometheus import Prometheus
from tests.waiting import wait

pytestmark = pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not())

RUN = "first"
GPU_WORKERS = ("gpu-worker-1", "gpu-worker-2")
HEAVY = {f"{step}_{network}" for step in ("train", "evaluate") for network in networks.names()}
LIGHT = {"plan", "download", "validate", "split", "report", "publish"}
LOGS_PORT = 8793
WRITES_AS_ITSELF = """
from mftasks.settings import read
from mftasks.store.workspace import Workspace
Workspace(read()).store.put("written", b"1", "text/plain")
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Give a deployment that is healthy; on another host there is a second GPU worker."""
    with deployed.with_two_gpu_workers(tmp_path_factory.mktemp("deployment")) as given:
        yield given


def test_every_service_gets_well_and_starts_after_those_that_it_needs(running: Deployed) -> None:
    deployment = running.deployment
    every = {"api-server", "dag-processor", "scheduler", "triggerer", "worker", "gpu-worker"}
    every |= {"postgres", "redis", "seaweedfs", "prometheus", "statsd-exporter", "alertmanager"}
    assert every | {"airflow-init", "store-init"} == deployment.services.keys()
    for each in deployment.containers:
        assert len(each.starts) == 1, deployment.describe([each])
        for name, dependency in each.service.depends_on.items():
            on = deployment.container(name)
            assert on.starts[0] < each.starts[0]
            if dependency.condition == "service_started":
                continue
            assert on.succeeded or on.health.healthy_at[0] <= each.starts[0]


def test_from_outside_nothing_but_the_ui_and_the_workers_logs_can_be_reached(
    running: Deployed,
) -> None:
    outside = {
        each.of: network.listening(each.init, each.addresses["outside"])
        for each in running.deployment.containers
        if "outside" in each.addresses and each.running
    }
    workers = {"worker": {LOGS_PORT}, "gpu-worker": {LOGS_PORT}}
    tellers = {"dag-processor": set(), "alertmanager": set()}
    assert outside == {"api-server": {8080}, **tellers, **workers}
    log = f"http://{running.deployment.reach('worker', LOGS_PORT)}/log/dag_id={DAG}/x.log"
    assert (
        httpx.get(log, trust_env=False, timeout=PATIENCE_SECONDS).status_code
        == httpx.codes.FORBIDDEN
    )


def test_nobody_gets_in_without_a_password(running: Deployed) -> None:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=PATIENCE_SECONDS) as stranger:
        for path in ("dags", "pools", f"dags/{DAG}/dagRuns", "connections", "variables"):
            assert stranger.get(f"/api/v2/{path}").status_code == httpx.codes.UNAUTHORIZED, path
        login = {"username": "admin", "password": "admin"}
        assert stranger.post("/auth/token", json=login).status_code == httpx.codes.UNAUTHORIZED


def test_the_admin_logs_in_by_the_page_with_the_password_that_was_drawn(running: Deployed) -> None:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=PATIENCE_SECONDS) as browser:
        page = browser.get("/auth/login/").text
        [token] = re.findall(r'name="csrf_token"[^>]* value="([^"]+)"', page)
        login = {"username": "admin", "csrf_token": token}
        login["password"] = (running.secrets / "admin_password").read_text()
        assert browser.post("/auth/login/", data=login).is_redirect
        shown = browser.get(f"/api/v2/dags/{DAG}").json()
    assert (shown["dag_id"], shown["is_paused"]) == (DAG, False)


def test_the_dag_is_there_without_errors_and_the_pool_has_its_slots(running: Deployed) -> None:
    assert running.airflow.ask("GET", "/api/v2/importErrors")["total_entries"] == 0
    assert running.airflow.ask("GET", "/api/v2/pools/gpu")["slots"] == 3


@pytest.fixture(scope="module")
def watched(running: Deployed) -> Watched:
    """Give a run that has ended well, with trainings on each GPU worker at once."""
    return watch(running, RUN)


def test_trainings_are_shared_by_gpu_workers_of_different_hosts(watched: Watched) -> None:
    trained = [watched.hosts[f"train_{name}"].name for name in networks.names()]
    assert len(trained) == 3
    assert set(trained) == set(GPU_WORKERS)
    assert {watched.hosts[task].of for task in HEAVY} == {"gpu-worker"}
    assert {watched.hosts[task].name for task in LIGHT} == {"worker-1"}


def test_a_run_is_published_with_what_both_hosts_made(running: Deployed, watched: Watched) -> None:
    client = running.s3("ui").client()
    prefix = f"{running.prefix(RUN)}/"
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    keys = {entry["Key"].removeprefix(prefix) for entry in listed}
    assert {"manifest.json", "report.html"} <= keys
    assert {f"{name}/bundle/bundle.json" for name in networks.names()} <= keys


def test_the_ui_shows_the_log_of_a_training_wherever_it_ran(
    running: Deployed, watched: Watched
) -> None:
    for task in running.airflow.tasks(RUN):
        if task.task_id in HEAVY:
            said = "\n".join(running.airflow.log_lines(RUN, task))
            assert task.task_id.replace("_", " ") in said, (watched.hosts[task.task_id].name, said)


def test_the_ui_may_only_look_into_the_store(running: Deployed, watched: Watched) -> None:
    ui = running.s3("ui").client()
    manifest = f"{running.prefix(RUN)}/manifest.json"
    assert ui.get_object(Bucket=BUCKET, Key=manifest)["Body"].read()
    assert is_refused(ui.put_object, Bucket=BUCKET, Key=manifest, Body=b"1")
    assert is_refused(ui.delete_object, Bucket=BUCKET, Key=manifest)
    code, said = running.deployment.container("api-server").run("python", "-c", WRITES_AS_ITSELF)
    assert code != 0
    assert "AccessDenied" in said


def test_workers_may_do_nothing_outside_of_the_bucket(running: Deployed) -> None:
    worker = running.s3("worker").client()
    running.s3("admin").client().create_bucket(Bucket="others")
    assert is_refused(worker.put_object, Bucket="others", Key="a", Body=b"1")
    assert is_refused(worker.list_objects_v2, Bucket="others")
    assert is_refused(worker.create_bucket, Bucket="more")
    assert is_refused(worker.delete_bucket, Bucket=BUCKET)
    code, said = running.deployment.container("gpu-worker").run("python", "-c", WRITES_AS_ITSELF)
    assert code == 0, said


def test_no_secret_is_seen_in_environments_commands_or_the_rendered_file(
    running: Deployed, watched: Watched
) -> None:
    values = read_values(running.secrets)
    assert len(values) == 11
    assert min(map(len, values.values())) >= 32
    for name, value in values.items():
        for process, variables in watched.environments.items():
            assert value not in str(variables.values()), (name, process)
        assert value not in "\n".join(watched.commands), name
        assert value not in running.deployment.rendered, name


def test_trainings_know_nothing_of_airflow(watched: Watched) -> None:
    trained = [said for name, said in watched.environments.items() if "'mftasks', 'train'" in name]
    assert len(trained) >= len(GPU_WORKERS)
    for variables in trained:
        assert not [name for name in variables if name.startswith("AIRFLOW__")]


def test_no_secret_is_logged(running: Deployed, watched: Watched) -> None:
    folder = running.deployment.folder
    logs = [*folder.glob("logs/*.log"), *folder.glob("host-*/logs/**/*.log")]
    assert len(logs) > len(running.deployment.services) + len(HEAVY | LIGHT)
    text = "\n".join(log.read_text(errors="replace") for log in logs)
    for name, value in read_values(running.secrets).items():
        assert value not in text, name


def test_metrics_arrive_in_prometheus(running: Deployed, watched: Watched) -> None:
    prometheus = Prometheus(f"http://{running.deployment.reach('prometheus', 9090)}")
    expected = [
        'up{job="airflow"} == 1',
        'mf_train_rmse{network="linear"} > 0',
        'mf_train_valid_rmse{network="mlp"} > 0',
        "sum(mf_train_epochs_total) == 10",
        "mf_data_ratings == 100000",
        "mf_evaluate_rmse > 0",
        "time() - mf_publish_timestamp_seconds < 600",
        "mf:published_rmse > 0",
        'airflow_pool_open_slots{pool_name="gpu"} == 3',
        'airflow_dag_run_seconds_count{state="success"} == 1',
        *(
            f'increase(airflow_heartbeats_total{{component="{name}"}}[1m]) > 0'
            for name in ("dag_processor", "scheduler", "triggerer")
        ),
    ]

    def missing() -> list[str]:
        return [query for query in expected if not prometheus.query(query)]

    wait(lambda: not missing(), PATIENCE_SECONDS, missing, progress=missing)
    assert [one for one in prometheus.alerts() if one["state"] == "firing"] == []
    prometheus.client.close()


def test_prometheus_reaches_alertmanager(running: Deployed) -> None:
    config = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yaml").read_text())
    [[address]] = [
        one["static_configs"][0]["targets"] for one in config["alerting"]["alertmanagers"]
    ]
    asked = ("wget", "-q", "-O", "-", f"http://{address}/-/ready")
    code, said = running.deployment.container("prometheus").run(*asked)
    assert (code, said.strip()) == (0, "OK")


def test_no_service_needs_much_of_the_memory_that_it_may_have(running: Deployed) -> None:
    for each in running.deployment.containers:
        if each.running:
            used = sum(process.memory_full_info().pss for process in each.processes())
            assert used < 0.75 * running.deployment.memory[each.of], each.name


def test_all_end_when_they_are_asked_and_none_has_been_started_twice(running: Deployed) -> None:
    took = running.deployment.stop()
    for each in running.deployment.containers:
        assert len(each.starts) == 1, running.deployment.describe([each])
        assert took[each.name] < 0.8 * seconds(each.service.stop_grace_period), each.name
