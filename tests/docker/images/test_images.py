"""The images, built by Buildah from docker/Dockerfile, and what runs in them: `make test-images`.

It takes minutes, downloads 3 GB, and needs root. Only the Python is another one: Debian's 3.11, of an older
patch version than Docker Hub's python:3.11.15-slim-bookworm.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mf_airflow.embedded import servers
from mf_airflow.embedded.process import Process, free_ports
from tests.deployment.engine import source as checkout
from tests.docker import compose
from tests.docker.dockerfile import PREFIX
from tests.docker.images import buildah, driver
from tests.docker.images.buildah import Container, Storage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(buildah.why_not()), reason=buildah.why_not()),
]

# MiB that each adds to Python's image, and a tenth more.
MOST = {"airflow": 840, "gpu": 4130}
WRITABLE = {"cache", "home", "leases", "logs"}
CODE = {"dags", "docker", "mftasks", "plugins", "venv"}
FOR_ALL = {"/tmp", "/var/tmp", "/run/lock"}
# What Python and people load or run; other libraries are found through these.
LOADED = r"-name '*.so' ! -name 'lib*' -o -name libmxnet.so -o -path '*/pginstall/bin/*' -o -path '*/nvidia/*/lib/*'"
RUN = "python -m mftasks run --set dataset=file:///given/ratings.csv --set networks='[\"linear\"]' --set epochs=1 --set device=cpu"
FOLDERS = {"MF_CACHE": f"{PREFIX}/cache", "MF_LEASES": f"{PREFIX}/leases"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a checkout that has been deployed from: with secrets."""
    folder = checkout.copy(tmp_path_factory.mktemp("source"))
    (folder / ".git").mkdir(exist_ok=True)
    compose.make_env(folder)
    return folder


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Iterator[Storage]:
    with buildah.storage(tmp_path_factory.mktemp("storage"), source) as given:
        yield given


@pytest.fixture(params=["airflow", "gpu"])
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def either(storage: Storage, target: str) -> Iterator[Container]:
    """Give a container of each image."""
    with storage.container(target) as container:
        yield container


@pytest.fixture
def airflow(storage: Storage) -> Iterator[Container]:
    """Give a container of the image `airflow`."""
    with storage.container("airflow") as container:
        yield container


@pytest.fixture
def gpu(storage: Storage) -> Iterator[Container]:
    """Give a container of the image `gpu`."""
    with storage.container("gpu") as container:
        yield container


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Give a folder with ratings that an image's user may write to."""
    lines = [f"{user},{item},{1 + (user * item) % 5}" for user in range(40) for item in range(30)]
    folder = tmp_path / "given"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "ratings.csv").write_text("\n".join(["user_id,item_id,rating", *lines]) + "\n")
    return folder


def test_airflow_is_of_the_version_that_was_asked_for(either: Container) -> None:
    said = either.run("airflow version")
    requirements = (compose.ROOT / "docker" / "requirements.txt").read_text()
    assert f"apache-airflow=={said.split()[-1]}\n" in requirements


def test_every_library_is_in_the_image_but_the_driver(either: Container, target: str) -> None:
    said = either.run(f"find venv -type f \\( {LOADED} \\) -exec ldd {{}} + 2>/dev/null || true")
    assert said.count(" => ") > 500
    missing = set(re.findall(r"(\S+) => not found", said))
    assert missing == ({"libcuda.so.1"} if target == "gpu" else set())


def test_everything_runs_from_the_image(airflow: Container) -> None:
    asked = "import airflow, mftasks, mf_airflow; print(airflow, mftasks, mf_airflow)"
    assert airflow.run(f"python -c '{asked}'").count(f"'{PREFIX}/") == 3


def test_an_image_brings_code_and_libraries_and_nothing_else(either: Container) -> None:
    assert set(either.run("ls -A").split()) == WRITABLE | CODE
    assert either.run("ls -A docker").split() == ["url", "verify"]
    assert either.run(f"find {' '.join(WRITABLE)} -mindepth 1") == ""
    assert either.run("find . -name .git -o -name '.env*' -o -name tests -type d") == ""


def test_an_image_contains_no_secret(
    storage: Storage, either: Container, target: str, source: Path, tmp_path: Path
) -> None:
    files = sorted((source / ".secrets").iterdir())
    last_words = [line.split()[-1] for file in files for line in file.read_text().splitlines()]
    values = {word for word in last_words if len(word) > 15}
    assert len(values) >= len(files)
    (tmp_path / "secrets").write_text("".join(f"{each}\n" for each in values))
    asked = "grep --recursive --files-with-matches --fixed-strings --file=/secrets ."
    either.run(f"{asked}; test $? -eq 1", f"{tmp_path / 'secrets'}:/secrets:ro", user="0")
    assert not [each for each in values if each in storage.inspect(target)]


def test_its_user_can_write_nowhere_but_where_volumes_are_mounted(either: Container) -> None:
    assert either.run("id -u; id -g").split() == ["50000", "50000"]
    found = either.run("find / -xdev -writable ! -type l 2>/dev/null || true").split()
    assert set(found) == FOR_ALL | {f"{PREFIX}/{name}" for name in WRITABLE}


def test_an_image_is_no_larger_than_it_was(
    storage: Storage, either: Container, target: str
) -> None:
    with storage.base() as base:
        added = either.megabytes() - base.megabytes()
    assert 0.8 * MOST[target] < added < MOST[target]


def test_the_whole_flow_runs_in_the_image(
    either: Container, target: str, given: Path, tmp_path: Path
) -> None:
    mounted = [f"{driver.build(tmp_path, either)}:{driver.PATH}:ro"] if target == "gpu" else []
    command = f"{RUN} --store file:///given/store"
    either.run(command, f"{given}:/given", *mounted, variables=FOLDERS)
    assert list((given / "store").rglob("manifest.json"))


def test_the_whole_flow_runs_in_the_image_on_s3(
    airflow: Container, given: Path, tmp_path: Path
) -> None:
    with servers.seaweedfs(tmp_path / "s3", bucket="movielens") as s3:
        own = s3.environment() | FOLDERS
        airflow.run(RUN, f"{given}:/given:ro", variables=own)
        kept = [each["Key"] for each in s3.client().list_objects_v2(Bucket=s3.bucket)["Contents"]]
    assert [key for key in kept if key.endswith("manifest.json")]


def test_people_can_log_in(airflow: Container, tmp_path: Path) -> None:
    [port] = free_ports(1)
    manager = "AIRFLOW__CORE__AUTH_MANAGER"
    own = {
        manager: _service(tmp_path)["environment"][manager],
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{PREFIX}/home/airflow.db",
    }
    airflow.run("airflow db migrate", variables=own)
    command = airflow.command("exec airflow api-server --workers 1", variables=own)
    with Process("API server", command, tmp_path / "log") as server:
        server.wait_for(lambda: _page(f"http://127.0.0.1:{port}/auth/login/"), seconds=90)


def _page(url: str) -> bool:
    """Return whether the page is there for a browser that prefers German."""
    asked = urllib.request.Request(url, headers={"Accept-Language": "de"})
    with contextlib.suppress(ConnectionError, urllib.error.URLError):
        return b'name="password"' in urllib.request.urlopen(asked, timeout=20).read()
    return False


def test_a_worker_is_well_until_its_broker_is_gone(airflow: Container, tmp_path: Path) -> None:
    service = _service(tmp_path)
    secrets = tmp_path / ".secrets"
    secrets.chmod(0o755)
    (tmp_path / "redis").mkdir()
    with servers.redis(tmp_path / "redis") as broker:
        (secrets / "redis_password").write_text(broker.password)
        given = (f"{secrets}:/run/secrets:ro",)
        own = _variables(service["environment"], broker.port)
        test = shlex.join(service["healthcheck"]["test"][1:])
        health = airflow.command(test, *given, variables=own)
        command = airflow.command(f"exec {shlex.join(service['command'])}", *given, variables=own)
        with Process("worker", command, tmp_path / "log") as worker:
            worker.wait_for(lambda: _code(health) == 0, seconds=90)
    assert _code(health) == 1


def _service(folder: Path) -> dict[str, Any]:
    """Return what compose says of a worker, with an .env and secrets in a folder."""
    return compose.read(compose.make_env(folder))["services"]["worker"]


def _variables(asked: dict[str, str], broker: int) -> dict[str, str]:
    return {
        name: value.replace("$$", "$")
        .replace("@redis:6379", f"@127.0.0.1:{broker}")
        .replace("statsd-exporter", "127.0.0.1")
        for name, value in asked.items()
    }


def _code(command: list[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_the_gpu_image_needs_nothing_but_the_driver(gpu: Container, tmp_path: Path) -> None:
    assert "no NVIDIA driver here" in gpu.run("docker/verify")
    mounted = f"{driver.build(tmp_path, gpu)}:{driver.PATH}:ro"
    assert "MXNet 1.9.1" in gpu.run("docker/verify", mounted)
    asked = (
        "from mftasks.mx import mx; "
        "on = [name for name, one in mx.runtime.Features().items() if one.enabled]; "
        "print('CUDA' in on, 'CUDNN' in on, mx.context.num_gpus(), mx.nd.ones(3).sum().asscalar())"
    )
    said = gpu.run(f'python -c "{asked}"', mounted)
    assert said.splitlines()[-1] == "True True 0 3.0"
