"""What is in the images, built in a clean folder by the Dockerfile's own steps: `make test-images`.

It takes minutes, and downloads 3 GB. Only the machine is another one: its Python, and its copies of the
few libraries that the Dockerfile takes from Debian.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mf_airflow import servers
from mf_airflow.process import Process
from tests.docker import compose, dockerfile
from tests.docker.dockerfile import folder_of, moved, run

pytestmark = pytest.mark.slow

# What Debian's slim image has (libc6, libgcc-s1, libstdc++6, zlib1g), and what the Dockerfile adds.
SLIM = {"libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1", "libz.so.1"}  # fmt: skip
ADDED = {"libgomp1": "libgomp.so.1", "libquadmath0": "libquadmath.so.0"}


def built(target: str, folder: Path) -> Path:
    image = folder / target
    try:
        dockerfile.build(target, image, builder())
    except BaseException:
        shutil.rmtree(image)
        raise
    return image


def builder() -> dict[str, str]:
    """Return the environment of the build: ours, without what would let it find our own packages."""
    left_out = ("PYTHON", "AIRFLOW", "MF_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def environment(target: str, image: Path) -> dict[str, str]:
    """Return the environment that an image gives to a process."""
    own = {name: moved(value, image) for name, value in dockerfile.environment(target).items()}
    return {"HOME": str(image)} | own


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give what is in the image `airflow`."""
    image = built("airflow", tmp_path_factory.mktemp("image"))
    yield image
    shutil.rmtree(image)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give what is in the image `gpu`."""
    image = built("gpu", tmp_path_factory.mktemp("image"))
    yield image
    shutil.rmtree(image)


def test_airflow_is_of_the_version_that_was_asked_for(airflow: Path) -> None:
    said = run("airflow version", airflow, environment("airflow", airflow))
    requirements = (compose.ROOT / "docker" / "requirements.txt").read_text()
    assert f"apache-airflow=={said.strip()}\n" in requirements


def test_it_needs_no_library_that_neither_a_wheel_nor_the_dockerfile_brings(airflow: Path) -> None:
    asked = "find venv -name '*.so*' -type f -exec ldd {} + 2>/dev/null || true"
    said = run(asked, airflow, environment("airflow", airflow))
    debians = set(re.findall(r"=> /(?:usr/)?lib/\S+/(\S+) ", said))
    assert debians - SLIM == set(ADDED.values())
    installed = next(step.words for step in dockerfile.steps("airflow") if "apt-get" in step.words)
    assert all(package in installed.split() for package in ADDED)


def test_everything_runs_from_the_image_and_nothing_from_this_checkout(airflow: Path) -> None:
    asked = "import airflow, mftasks, mf_airflow; print(airflow, mftasks, mf_airflow)"
    said = run(f"python -c '{asked}'", airflow, environment("airflow", airflow))
    assert said.count(str(folder_of(airflow))) == 3


def test_the_whole_flow_runs_in_the_image(airflow: Path, tmp_path: Path) -> None:
    data = tmp_path / "ratings.csv"
    lines = [f"{user},{item},{1 + (user * item) % 5}" for user in range(40) for item in range(30)]
    data.write_text("\n".join(["user_id,item_id,rating", *lines]) + "\n")
    settings = ("dataset=" + data.as_uri(), 'networks=["linear"]', "epochs=1")
    chosen = " ".join(f"--set '{each}'" for each in settings)
    command = f"python -m mftasks run --store {(tmp_path / 'store').as_uri()} {chosen}"
    given = {"MF_CACHE": str(tmp_path / "cache"), "MF_LEASES": str(tmp_path / "leases")}
    run(command, airflow, environment("airflow", airflow) | given)
    assert list((tmp_path / "store").rglob("manifest.json"))


def test_a_worker_is_well_until_its_broker_is_gone(airflow: Path, tmp_path: Path) -> None:
    service = compose.parsed(compose.made_env(tmp_path))["services"]["worker"]
    (tmp_path / "redis").mkdir()
    with servers.redis(tmp_path / "redis") as broker:
        given = _variables(service["environment"], airflow, tmp_path, broker)
        health = _resolved(service["healthcheck"]["test"][1:], given)
        with _worker(service["command"], given, tmp_path / "log") as worker:
            worker.wait_for(lambda: _code(health, given) == 0, seconds=60)
    assert _code(health, given) == 1


def _variables(
    asked: dict[str, str], image: Path, folder: Path, broker: servers.RedisServer
) -> dict[str, str]:
    (folder / ".secrets" / "redis_password").chmod(0o600)
    (folder / ".secrets" / "redis_password").write_text(broker.password)
    return environment("airflow", image) | {
        name: value.replace("$$", "$")
        .replace("/run/secrets", str(folder / ".secrets"))
        .replace("@redis:6379", f"@127.0.0.1:{broker.port}")
        .replace("statsd-exporter", "127.0.0.1")
        .replace("/opt/airflow", str(folder))
        for name, value in asked.items()
    }


def _resolved(command: list[str], given: dict[str, str]) -> list[str]:
    found = shutil.which(command[0], path=given["PATH"])
    assert found is not None
    return [found, *command[1:]]


def _code(command: list[str], given: dict[str, str]) -> int:
    return subprocess.run(command, env=given, capture_output=True, check=False).returncode


@contextlib.contextmanager
def _worker(command: list[str], given: dict[str, str], log: Path) -> Iterator[Process]:
    process = Process("worker", _resolved(command, given), log, environment=given, grace=5)
    try:
        yield process
    finally:
        process.stop()


def test_the_gpu_image_needs_nothing_but_the_driver(gpu: Path, tmp_path: Path) -> None:
    given = environment("gpu", gpu)
    assert "no driver of NVIDIA here" in run("docker/verify", gpu, given)
    driver = _driver(tmp_path, _of_the_driver(gpu, given))
    given["LD_LIBRARY_PATH"] = f"{driver.parent}:{given['LD_LIBRARY_PATH']}"
    assert "MXNet 1.9.1" in run("docker/verify", gpu, given)
    asked = (
        "from mftasks.mx import mx; "
        "on = [name for name, one in mx.runtime.Features().items() if one.enabled]; "
        "print('CUDA' in on, 'CUDNN' in on, mx.context.num_gpus(), mx.nd.ones(3).sum().asscalar())"
    )
    said = run(f'python -c "{asked}"', gpu, given)
    assert said.splitlines()[-1] == "True True 0 3.0"


def _of_the_driver(image: Path, given: dict[str, str]) -> set[str]:
    """Return the names of the functions that no library in the image has."""
    said = run("ldd -r venv/lib/python3.11/site-packages/mxnet/libmxnet.so", image, given)
    missing = set(re.findall(r"undefined symbol: (\w+)", said))
    assert missing
    assert all(name.startswith("cu") for name in missing)
    return missing


def _driver(folder: Path, functions: set[str]) -> Path:
    """Make a driver that has no device, for want of a real one: 100 is CUDA_ERROR_NO_DEVICE."""
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text("".join(f"int {name}() {{ return 100; }}\n" for name in functions))
    asked = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, source]
    subprocess.run(asked, check=True)
    return library
