from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mf_airflow.embedded import servers
from tests.monitoring import prometheus
from tests.starts_server import names_starter
from tests.store import test_contract


@pytest.mark.parametrize("command", [["redis-server", "--version"], ["python", "-m", "celery"]])
def test_a_test_without_the_mark_cannot_start_a_server(command: list[str]) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"mark it with pytest\.mark\.server"):
        subprocess.run(command, check=False)


@pytest.mark.server
def test_a_test_with_the_mark_may() -> None:
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/nowhere/redis-server"], check=False)


def test_whoever_names_a_helper_that_starts_a_server_is_found() -> None:
    def starts_one(folder: Path) -> None:
        with servers.redis(folder):
            pass

    def starts_another_in_a_nested_function() -> object:
        return lambda folder: prometheus.running(folder, "127.0.0.1:1")

    assert names_starter(starts_one)
    assert names_starter(starts_another_in_a_nested_function)


def test_whoever_names_none_is_not() -> None:
    assert not names_starter(test_contract.test_what_was_put_is_read_back_whole)
    assert not names_starter(test_a_test_with_the_mark_may)


@pytest.mark.usefixtures("s3_server")
def test_the_mark_comes_with_a_fixture(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("server")
