from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mf_airflow.embedded import servers
from mf_airflow.embedded.process import Process, free_ports
from mf_airflow.embedded.servers import RedisServer
from mf_airflow.monitoring import health
from tests.web import Answer, Web

HEALTH = "/api/v2/monitor/health"


def test_a_server_that_answers_is_well(site: Web) -> None:
    assert health.main(["answers", site.serve("/version", Answer(b"{}"))]) == 0


def test_one_that_does_not_is_not_and_says_why(site: Web, capsys: pytest.CaptureFixture) -> None:
    assert health.main(["answers", f"{site.base}/nothing"]) == 1
    assert "404" in capsys.readouterr().err
    assert health.main(["answers", site.serve("/ill", Answer(status=503))]) == 1
    assert "503" in capsys.readouterr().err
    [nobody] = free_ports(1)
    assert health.main(["answers", f"http://127.0.0.1:{nobody}/version"]) == 1
    assert "refused" in capsys.readouterr().err


def test_nothing_is_asked_over_a_proxy(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert health.main(["answers", site.serve("/version", Answer(b"{}"))]) == 0


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("unhealthy", 1), (None, 1)])
def test_a_component_is_well_if_airflow_has_heard_of_it(
    site: Web, status: str | None, code: int
) -> None:
    known = {"dag_processor": {"status": status}, "scheduler": {"status": "healthy"}}
    site.serve(HEALTH, Answer(json.dumps(known).encode()))
    assert health.main(["component", site.base, "dag_processor"]) == code


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with servers.redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextlib.contextmanager
def celery(broker: RedisServer, name: str, log: Path) -> Iterator[Process]:
    """Run a Celery worker."""
    command = ["-m", "celery", "--broker", broker.url, "worker", "--pool=solo", "--loglevel=info"]
    named = f"--hostname={name}@%h"
    with Process("worker", [sys.executable, *command, named], log, grace=5) as process:
        process.wait_for(lambda: "ready." in log.read_text())
        yield process


def asked(broker: RedisServer, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask for a worker as its container does: the broker's address comes from a command."""
    (folder / "url").write_text(broker.url)
    given = {"AIRFLOW__CELERY__BROKER_URL_CMD": f"cat {shlex.quote(str(folder / 'url'))}"}
    return subprocess.run(
        [sys.executable, "-m", "mf_airflow.monitoring.health", "worker", name],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **given},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_worker_of_this_name_that_runs_here_is_well_and_no_other_is(
    broker: RedisServer, tmp_path: Path
) -> None:
    with celery(broker, "one", tmp_path / "log"):
        well = asked(broker, "one", tmp_path)
        assert (well.returncode, well.stderr) == (0, "")
        other = asked(broker, "two", tmp_path)
        assert other.returncode == 1
        assert "does not answer" in other.stderr


def test_a_worker_without_a_broker_is_not_well(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    ill = asked(RedisServer(port=nobody, password="x"), "one", tmp_path)
    assert ill.returncode == 1
    assert "the broker does not answer" in ill.stderr


def test_a_worker_whose_secret_is_missing_is_not_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL_CMD", "cat /nowhere/redis_password")
    assert health.main(["worker", "one"]) == 1
    assert "cat" in capsys.readouterr().err
