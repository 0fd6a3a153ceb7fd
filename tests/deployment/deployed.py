"""A deployment as people have it: copied, `make env`, a few settings, `docker compose up`, and a run.

with deployed.running(folder) as running:
    running.trigger("first", {"epochs": 2})
    assert running.wait_for_end("first") == "success"
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from mf_airflow.embedded.environment import USER
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import DAG, ENDED, Airflow, RequestRefused
from mf_airflow.embedded.seaweedfs import S3Server
from tests.deployment import logs
from tests.deployment.engine import compose, source
from tests.deployment.engine.compose import PATIENCE_SECONDS, Deployment
from tests.deployment.engine.container import Container
from tests.docker import keys
from tests.docker.keys import BUCKET
from tests.waiting import EVERY_SECONDS, wait

RATINGS = "given/ratings.csv"
CONF: dict[str, Any] = {
    "dataset": f"s3://{BUCKET}/{RATINGS}",
    "epochs": 4,
    "patience": 0,
    "batch_size": 100,
    "overrides": {"resnet": {"epochs": 2, "batch_size": 1000}},
}
CALMLY_SECONDS = 0.5
CHECKPOINT_SECONDS = 1.0


def why_not() -> str:
    """Return why containers cannot be run here, nothing where they can."""
    namespaces = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "true"]
    made = subprocess.run(namespaces, capture_output=True, text=True, check=False)
    return f"only root may make namespaces: {made.stderr.strip()}" if made.returncode else ""


@dataclass(frozen=True)
class Deployed:
    """What runs, where its secrets are, and a session of the user `admin`."""

    deployment: Deployment
    secrets: Path
    url: str
    airflow: Airflow
    store: str

    def s3(self, identity: str) -> S3Server:
        """Return how one of the store's identities reaches it."""
        return keys.identity(self.secrets / f"s3_{identity}", self.store)

    def trigger(self, run_id: str, conf: dict[str, Any] = CONF) -> None:
        """Start a run."""
        self.airflow.trigger(run_id, conf)

    def wait(self, true: Callable[[], Any], run_id: str, every: float = EVERY_SECONDS) -> float:
        """Wait as long as a run makes progress until `true()`; return after how many seconds."""
        return wait(
            true,
            PATIENCE_SECONDS,
            lambda: self.describe(run_id),
            every=every,
            progress=lambda: logs.count_bytes(self.deployment.folder, run_id),
        )

    def wait_for_end(self, run_id: str) -> str:
        """Wait until a run has ended, though Airflow may not answer for a while; return how."""
        states = [""]

        def ended() -> bool:
            with contextlib.suppress(httpx.TransportError, RequestRefused):
                states.append(self.airflow.run_state(run_id))
            return states[-1] in ENDED

        self.wait(ended, run_id, every=CALMLY_SECONDS)
        return states[-1]

    def prefix(self, run_id: str) -> str:
        """Return what the keys of a run begin with in the store."""
        return f"runs/{self.airflow.store_run_id(run_id)}"

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request about the DAG to Airflow that the product itself never makes."""
        return self.airflow.ask(method, f"/api/v2/dags/{DAG}/{path}", body)

    def hosts(self, run_id: str) -> dict[str, Container | None]:
        """Return which container ran each task of a run."""
        by_name = {each.hostname: each for each in self.deployment.containers}
        return {task: by_name.get(name) for task, name in self.hostnames(run_id).items()}

    def hostnames(self, run_id: str) -> dict[str, str]:
        """Return the name of the host that ran each task of a run, as Airflow knows it."""
        listed = self.ask("GET", f"dagRuns/{run_id}/taskInstances")
        return {one["task_id"]: one["hostname"] for one in listed["task_instances"]}

    def gpu_workers(self) -> list[Container]:
        """Return the containers that train."""
        return [each for each in self.deployment.containers if each.of == "gpu-worker"]

    def describe(self, run_id: str) -> str:
        """Return how the tasks of a run are doing, for a person who wonders why it went wrong."""
        ends = logs.ends(self.deployment.folder, run_id)
        with contextlib.suppress(Exception):
            return "\n".join([*map(str, self.airflow.tasks(run_id)), ends])
        return f"{self.deployment.describe(self.deployment.containers)}\n{ends}"


def trainings(container: Container) -> list[psutil.Process]:
    """Return the processes that train in a container, not those that guard them."""
    training = ["-m", "mftasks", "train"]
    return [each for each in container.processes() if words(each)[1:4] == training]


def words(process: psutil.Process) -> list[str]:
    """Return the command line of a process, nothing where it has ended."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


@contextlib.contextmanager
def running(
    folder: Path,
    airflow_settings: str = "",
    prepare: Callable[[Path], object] = lambda checkout: None,
    **settings: str,
) -> Iterator[Deployed]:
    """Run a clean copy of this checkout, with ratings in its store; GPU workers train on the CPU.

    `airflow_settings` are lines for docker/airflow.env, `settings` are for .env, and `prepare` changes the copy.
    """
    checkout = source.copy(folder / "checkout")
    with (checkout / "docker" / "airflow.env").open("a") as file:
        file.write(airflow_settings)
    subprocess.run([checkout / "tools" / "env"], check=True, capture_output=True)
    [port] = free_ports(1)
    given = {"MF_UI_PORT": str(port), "MF_WORKER_QUEUES": "default"}
    _set(checkout / ".env", **{"COMPOSE_PROFILES": "seaweedfs,gpu"} | given | settings)
    prepare(checkout)
    (folder / "run").mkdir()
    with (
        compose.running(checkout, folder / "run") as deployment,
        Airflow(f"http://127.0.0.1:{port}") as airflow,
    ):
        deployment.wait_until_healthy()
        secrets = checkout / ".secrets"
        airflow.log_in(USER, (secrets / "admin_password").read_text())
        store = f"http://{deployment.reach('seaweedfs', 8333)}"
        deployed = Deployed(deployment, secrets, airflow.address, airflow, store)
        body = _ratings(folder / "ratings.csv").read_bytes()
        deployed.s3("worker").client().put_object(Bucket=BUCKET, Key=RATINGS, Body=body)
        yield deployed


@contextlib.contextmanager
def with_two_gpu_workers(folder: Path) -> Iterator[Deployed]:
    """Run a deployment with a second GPU worker, on another host; all put checkpoints often."""
    with running(folder, MF_CHECKPOINT_SECONDS=str(CHECKPOINT_SECONDS)) as given:
        given.deployment.add("gpu-worker")
        given.deployment.wait_until_healthy()
        yield given


def _set(path: Path, **settings: str) -> None:
    """Set settings in an .env as a person does: where they stand, commented out or not."""
    text = path.read_text()
    for name, value in settings.items():
        line = re.compile(rf"^#?{name}=.*$", re.MULTILINE)
        text = line.sub(f"{name}={value}", text) if line.search(text) else f"{text}{name}={value}\n"
    path.write_text(text)


def _ratings(path: Path) -> Path:
    """Write 100,000 ratings of a seeded low-rank matrix of 2000 users and 800 items."""
    random = np.random.default_rng(7)
    full = 3.5 + random.normal(0, 0.6, (2000, 4)) @ random.normal(0, 0.6, (4, 800))
    users, items = np.divmod(random.choice(full.size, 100_000, replace=False), full.shape[1])
    stars = np.clip(np.rint(full[users, items]), 1, 5).astype(int)
    table = np.stack([users, items, stars], axis=1)
    np.savetxt(path, table, "%d", ",", header="user_id,item_id,rating", comments="")
    return path
