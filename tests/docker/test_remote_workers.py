"""docker/remote-workers.yaml, docker/worker.yaml, and what tools/workers writes for them."""

from __future__ import annotations

import json
import os
import shlex
import ssl
import subprocess
from pathlib import Path
from typing import Any

import kombu.utils.url
import pytest

from tests.docker import compose
from tests.docker.compose import ROOT

SERVER, WORKER = "10.0.0.5", "10.0.0.6"
PUBLISHED = {"6380/tcp", "8334/tcp", "8443/tcp", "9125/udp"}
OVERRIDE = "docker-compose.yaml:docker/remote-workers.yaml"


def workers(folder: Path, *addresses: str) -> subprocess.CompletedProcess[str]:
    """Run tools/workers for a deployment in a folder."""
    asked = [ROOT / "tools" / "workers", *addresses, folder]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


def config(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `docker-compose config` in a folder that stands in for a checkout."""
    return subprocess.run(
        [compose.tool("docker-compose"), "--profile", "*", "config", "--format", "json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **more},
        capture_output=True,
        text=True,
        check=False,
    )


def as_checkout(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("docker", "docker-compose.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a checkout with a deployment, in which tools/workers was run."""
    folder = as_checkout(tmp_path_factory.mktemp("server"))
    compose.make_env(folder)
    done = workers(folder, SERVER, WORKER)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def worker(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a checkout on another host, in which the bundle was unpacked."""
    folder = as_checkout(tmp_path_factory.mktemp("worker"))
    bundle = server / ".secrets" / f"worker-{WORKER}.tar"
    assert bundle.stat().st_mode & 0o777 == 0o600
    subprocess.run(["tar", "-xf", bundle], cwd=folder, check=True)
    return folder


def read(folder: Path) -> dict[str, Any]:
    asked = config(folder)
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_what_workers_need_is_published_at_the_named_address_and_nothing_else(server: Path) -> None:
    services = read(server)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    open_at = {
        f"{port['published']}/{port['protocol']}" for port in ports if port["host_ip"] == SERVER
    }
    assert open_at == PUBLISHED
    assert {port["host_ip"] for port in ports} == {SERVER, "127.0.0.1"}


def test_without_a_named_address_nothing_starts(server: Path) -> None:
    refused = config(server, COMPOSE_FILE=OVERRIDE, MF_WORKERS_ADDRESS="")
    assert refused.returncode != 0
    assert (
        "name the address of this host at which workers of other hosts reach it" in refused.stderr
    )


def test_the_gateway_can_do_no_more_than_it_has_to(server: Path) -> None:
    services = read(server)["services"]
    gateway, other = services["gateway"], services["statsd-exporter"]
    for name in ("cap_drop", "init", "logging", "read_only", "restart", "security_opt"):
        assert gateway[name] == other[name], name
    assert [each["source"] for each in gateway["secrets"]] == ["gateway"]
    assert all(mount["read_only"] for mount in gateway["volumes"])


def test_every_published_port_of_the_gateway_speaks_tls(server: Path) -> None:
    lines = (ROOT / "docker" / "gateway" / "haproxy.cfg").read_text().splitlines()
    binds = [line.split() for line in lines if line.strip().startswith("bind ")]
    beyond_loopback = {words[1]: words[2:] for words in binds if words[1].startswith(":")}
    published = {f":{port['target']}" for port in read(server)["services"]["gateway"]["ports"]}
    assert beyond_loopback.keys() == published
    assert all(
        words == ["ssl", "crt", "/run/secrets/gateway"] for words in beyond_loopback.values()
    )


def test_the_certificate_is_of_the_named_address_and_drawn_again_for_another(server: Path) -> None:
    secrets = server / ".secrets"
    before = (secrets / "gateway").read_bytes()
    assert workers(server, SERVER, "10.0.0.7").returncode == 0
    assert (secrets / "gateway").read_bytes() == before
    ssl.create_default_context(cafile=str(secrets / "gateway_ca")).load_cert_chain(
        secrets / "gateway"
    )
    asked = ["openssl", "x509", "-in", secrets / "gateway_ca", "-noout", "-checkip"]
    shown = [
        subprocess.run([*asked, ip], capture_output=True, text=True, check=False).stdout
        for ip in (SERVER, "10.0.0.9")
    ]
    assert "does match" in shown[0]
    assert "does NOT match" in shown[1]


def test_a_worker_gets_the_secrets_that_it_needs_and_no_others(worker: Path) -> None:
    needed = {"gateway_ca", "redis_password", "s3_worker", "session_key"}
    assert {path.name for path in (worker / ".secrets").iterdir()} == needed
    assert (worker / ".secrets").stat().st_mode & 0o777 == 0o700
    assert (worker / ".env").stat().st_mode & 0o777 == 0o600
    for service in read(worker)["services"].values():
        assert {each["source"] for each in service["secrets"]} == needed
        assert not set(service.get("depends_on", {}))


def test_a_worker_publishes_its_logs_at_its_own_address_alone(worker: Path) -> None:
    for service in read(worker)["services"].values():
        [port] = service["ports"]
        assert (port["host_ip"], port["target"]) == (WORKER, 8793)
        assert service["hostname"] == WORKER


def test_a_worker_asks_for_its_settings_once_and_says_what_to_do(tmp_path: Path) -> None:
    refused = config(as_checkout(tmp_path / "x"), COMPOSE_FILE="docker/worker.yaml")
    assert refused.returncode != 0
    assert "run tools/workers on the host of the deployment" in refused.stderr


def test_a_worker_reaches_the_published_ports_under_tls(worker: Path) -> None:
    variables = read(worker)["services"]["gpu-worker"]["environment"]
    for name in ("BROKER_URL", "RESULT_BACKEND"):
        command = variables[f"AIRFLOW__CELERY__{name}_CMD"].replace("/opt/airflow", str(ROOT))
        here = command.replace(" /run/secrets", f" {worker / '.secrets'}")
        url = subprocess.run(shlex.split(here), capture_output=True, text=True, check=True).stdout
        found = kombu.utils.url.parse_url(url)
        assert (found["hostname"], found["port"]) == (SERVER, 6380)
        assert found["password"] == (worker / ".secrets" / "redis_password").read_text()
        assert found["ssl"]["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert found["ssl"]["ssl_ca_certs"] == variables["AIRFLOW__API__SSL_CA_FILE"]
    server = f"https://{SERVER}"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{server}:8443/execution/"
    assert variables["MF_S3_ENDPOINT"] == f"{server}:8334"
    assert variables["AWS_CA_BUNDLE"] == variables["AIRFLOW__API__SSL_CA_FILE"]


@pytest.mark.parametrize(
    ("addresses", "complaint"),
    [
        (("gpu.example.org", WORKER), "'gpu.example.org' is no IPv4 address"),
        ((SERVER, WORKER), "run 'make env' first"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, addresses: tuple[str, str], complaint: str
) -> None:
    refused = workers(tmp_path, *addresses)
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert complaint in line
    assert not list(tmp_path.iterdir())


def test_a_setting_that_says_otherwise_is_left_to_a_person(tmp_path: Path) -> None:
    env = compose.make_env(tmp_path)
    env.write_text(f"{env.read_text()}MF_WORKERS_ADDRESS=10.0.0.1\n")
    refused = workers(tmp_path, SERVER, WORKER)
    assert refused.returncode == 1
    assert "MF_WORKERS_ADDRESS" in refused.stderr
    assert "is 10.0.0.1; to go on, let it be 10.0.0.5" in refused.stderr
