"""A worker on a second host, by docker/worker.yaml, that reaches the deployment at one published address only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mftasks import networks
from tests.deployment import deployed
from tests.deployment.deployed import CONF, Deployed, trainings
from tests.deployment.engine import compose, network, source
from tests.deployment.engine.compose import PATIENCE_SECONDS, Deployment
from tests.deployment.engine.container import Container
from tests.deployment.engine.network import HOST, OTHER_HOST
from tests.monitoring.prometheus import Prometheus

pytestmark = pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not())

RUN = "remote"
SMALL = CONF | {"networks": ["linear"], "epochs": 6, "overrides": {}}
HEAVY = {f"{step}_{network}" for step in ("train", "evaluate") for network in networks.names()}
REDIS, S3, EXECUTION_API = 6380, 8334, 8443
AS_A_STRANGER = f"""
import contextlib, ssl
import httpx, redis
PATIENT = {PATIENCE_SECONDS}
with contextlib.suppress(redis.exceptions.ConnectionError):
    redis.Redis("{HOST}", {REDIS}).ping()
    print("Redis answers without TLS")
try:
    redis.Redis("{HOST}", {REDIS}, ssl=True, ssl_ca_certs="/run/secrets/gateway_ca").ping()
except redis.exceptions.AuthenticationError:
    print("Redis asks for a password")
with contextlib.suppress(httpx.ConnectError):
    httpx.get("https://{HOST}:{EXECUTION_API}/execution/health", timeout=PATIENT)
    print("the gateway shows a certificate that everybody trusts")
known = ssl.create_default_context(cafile="/run/secrets/gateway_ca")
for port, path in (
    ({EXECUTION_API}, "execution/health"),
    ({EXECUTION_API}, "execution/variables/x"),
    ({EXECUTION_API}, "api/v2/version"),
    ({EXECUTION_API}, ""),
    ({S3}, "movielens"),
):
    address = f"https://{HOST}:{{port}}/{{path}}"
    print(path, httpx.get(address, verify=known, timeout=PATIENT).status_code)
"""


@dataclass(frozen=True)
class TwoHosts:
    """A deployment without GPU workers, and one of docker/worker.yaml on a second host."""

    first: Deployed
    second: Deployment

    @property
    def worker(self) -> Container:
        return self.second.container("gpu-worker")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    folder = tmp_path_factory.mktemp("hosts")

    def prepare(checkout: Path) -> None:
        asked = [checkout / "tools" / "workers", HOST, OTHER_HOST]
        subprocess.run(asked, check=True, capture_output=True)

    with deployed.running(folder / "first", prepare=prepare, COMPOSE_PROFILES="seaweedfs") as first:
        checkout = source.copy(folder / "second" / "checkout")
        bundle = first.secrets / f"worker-{OTHER_HOST}.tar"
        subprocess.run(["tar", "-xf", bundle], cwd=checkout, check=True)
        (folder / "second" / "run").mkdir()
        lan = first.deployment.networks
        with compose.running(checkout, folder / "second" / "run", lan) as second:
            second.wait_until_healthy()
            yield TwoHosts(first, second)


@pytest.fixture(scope="module")
def reached(hosts: TwoHosts) -> set[str]:
    """Give whom the second host was connected to until the end of a run that it trained."""
    reached: set[str] = set()

    def trains() -> bool:
        reached.update(network.connected(hosts.worker.init, OTHER_HOST))
        return bool(trainings(hosts.worker))

    hosts.first.trigger(RUN, SMALL)
    hosts.first.wait(trains, RUN)
    hosts.first.wait(lambda: not trains(), RUN)
    assert hosts.first.wait_for_end(RUN) == "success", hosts.first.describe(RUN)
    return reached


def test_the_worker_does_the_heavy_tasks_and_reaches_the_published_ports_only(
    hosts: TwoHosts, reached: set[str]
) -> None:
    by_task = hosts.first.hostnames(RUN)
    there = {task for task, name in by_task.items() if name == OTHER_HOST}
    assert {"train_linear", "evaluate_linear"} <= there <= HEAVY
    assert reached == {f"{HOST}:{port}" for port in (REDIS, S3, EXECUTION_API)}


def test_the_ui_shows_the_log_that_lies_on_the_other_host(
    hosts: TwoHosts, reached: set[str]
) -> None:
    [task] = [task for task in hosts.first.airflow.tasks(RUN) if task.task_id == "train_linear"]
    said = "\n".join(hosts.first.airflow.log_lines(RUN, task))
    assert "epoch 6 of 6" in said, said


def test_metrics_of_the_other_host_arrive_in_prometheus(hosts: TwoHosts, reached: set[str]) -> None:
    prometheus = Prometheus(f"http://{hosts.first.deployment.reach('prometheus', 9090)}")
    hosts.first.wait(lambda: prometheus.query('mf_train_rmse{network="linear"} > 0'), RUN)
    prometheus.client.close()


def test_the_other_host_has_the_secrets_of_a_worker_and_no_others(hosts: TwoHosts) -> None:
    there = hosts.second.checkout / ".secrets"
    kept = {path.name for path in there.iterdir()}
    assert kept == {"gateway_ca", "redis_password", "s3_worker", "session_key"}
    assert there.stat().st_mode & 0o777 == 0o700
    assert (hosts.second.checkout / ".env").stat().st_mode & 0o777 == 0o600
    code, said = hosts.worker.run("ls", "/run/secrets")
    assert (code, set(said.split())) == (0, kept)


def test_nobody_gets_in_without_a_password_and_nothing_is_said_without_tls(hosts: TwoHosts) -> None:
    code, said = hosts.worker.run("python", "-c", AS_A_STRANGER)
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0] == "Redis asks for a password"
    assert lines[1:] == [
        "execution/health 200",
        "execution/variables/x 401",
        "api/v2/version 403",
        " 403",
        "movielens 403",
    ]


def test_a_worker_that_is_asked_to_stop_ends_in_time(hosts: TwoHosts, reached: set[str]) -> None:
    [took] = hosts.second.stop().values()
    assert took < 60
    assert len(hosts.worker.starts) == 1
