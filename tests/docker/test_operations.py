"""The commands of docs/operations.md: what the real compose binary makes of their service, and what make calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mf_airflow.operations import __main__ as operations
from tests.docker import compose
from tests.docker.compose import ROOT

OVERLAY = ("-f", "docker-compose.yaml", "-f", "docker/operations.yaml")
RUN = " ".join(["compose", *OVERLAY, "run", "--rm", "operations"])
UP = "compose up --detach --wait"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give all services, with a fresh .env."""
    settings = compose.make_env(tmp_path_factory.mktemp("env"))
    options = ("--env-file", str(settings), "--project-directory", str(ROOT), "--profile", "*")
    asked = subprocess.run(
        [compose.tool("docker-compose"), *options, *OVERLAY, "config", "--format", "json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "MF_OPERATOR": "1234"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)["services"]


@pytest.fixture(scope="module")
def service(services: dict[str, Any]) -> dict[str, Any]:
    return services["operations"]


def test_it_is_the_api_server_but_that_it_may_write_to_the_store(
    service: dict[str, Any], services: dict[str, Any]
) -> None:
    server = services["api-server"]
    for name in ("cap_drop", "deploy", "image", "init", "networks", "read_only", "security_opt"):
        assert service[name] == server[name], name
    secrets = {secret["source"] for secret in service["secrets"]}
    assert secrets == {secret["source"] for secret in server["secrets"]} | {"s3_worker"}
    assert service["environment"]["AWS_SHARED_CREDENTIALS_FILE"] == "/run/secrets/s3_worker"
    different = {"AWS_SHARED_CREDENTIALS_FILE"}
    for name in server["environment"].keys() - different:
        assert service["environment"][name] == server["environment"][name], name


def test_it_runs_when_it_is_asked_for_alone_and_is_published_nowhere(
    service: dict[str, Any],
) -> None:
    assert service["profiles"] == ["operations"]
    assert service["restart"] == "no"
    assert not service.get("ports")
    assert not service.get("command")
    assert service["user"] == "1234:0"
    waits = {name for name, wait in service["depends_on"].items() if wait.get("required", True)}
    assert waits == {"postgres"}


def test_it_sees_the_checkout_and_the_secrets_and_runs_the_code_of_the_image(
    service: dict[str, Any],
) -> None:
    mounted = {volume["target"]: volume["source"] for volume in service["volumes"]}
    assert mounted["/deployment"] == str(ROOT)
    assert mounted["/secrets"].endswith(".secrets")
    assert service["environment"]["MF_SECRETS"] == "/secrets"
    assert service["environment"]["PYTHONSAFEPATH"] == "1"
    assert service["entrypoint"] == ["python", "-m", "mf_airflow.operations"]


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """Give a folder with a program `docker` that notes what it is asked, and fails at the word FAIL."""
    (tmp_path / "docker").write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n! echo "$*" | grep -q "${{FAIL:-nothing}}"\n'
    )
    (tmp_path / "docker").chmod(0o755)
    return tmp_path


def make(docker: Path, *arguments: str, **variables: str) -> tuple[list[str], str]:
    """Return what make asked of docker, and what it complained of."""
    ended = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={"PATH": f"{docker}:{os.environ['PATH']}", "HOME": str(docker), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    noted = docker / "asked"
    asked = noted.read_text().splitlines() if noted.exists() else []
    return asked, ended.stderr


def test_a_backup_leaves_the_deployment_running(docker: Path) -> None:
    asked, _ = make(docker, "backup", f"FOLDER={docker}/monday")
    assert asked == [f"{RUN} backup {docker}/monday"]


def test_a_restore_stops_everything_and_starts_it_again(docker: Path) -> None:
    asked, _ = make(docker, "restore", "FOLDER=monday", "OVERWRITE=--overwrite")
    assert asked == ["compose build", "compose down", f"{RUN} restore monday --overwrite", UP]


def test_a_rotation_makes_every_container_anew(docker: Path) -> None:
    asked, _ = make(docker, "rotate")
    assert asked[:3] == ["compose down", f"{RUN} rotate", f"{UP} --force-recreate"]
    assert "grafana cli admin reset-admin-password" in asked[3]


def test_an_upgrade_backs_up_first(docker: Path) -> None:
    folder = f"{docker}/before"
    asked, _ = make(docker, "upgrade", f"FOLDER={folder}")
    assert asked == [
        "compose build",
        "compose down",
        f"{RUN} backup {folder}",
        f"{RUN} upgrade",
        UP,
    ]


def test_a_clean_up_removes_what_is_older_than_ninety_days(docker: Path) -> None:
    asked, _ = make(docker, "clean-up")
    assert asked == [f"{RUN} clean-up --days 90"]
    asked, _ = make(docker, "clean-up", "DAYS=30")
    assert asked[1:] == [f"{RUN} clean-up --days 30"]


def test_nothing_follows_what_failed(docker: Path) -> None:
    asked, complaint = make(docker, "upgrade", f"FOLDER={docker}/before", FAIL="operations backup")
    assert asked[-1] == f"{RUN} backup {docker}/before"
    assert "Error 1" in complaint


@pytest.mark.parametrize("target", ["backup", "restore", "upgrade"])
def test_a_backup_has_to_be_named(docker: Path, target: str) -> None:
    asked, complaint = make(docker, target)
    assert "name a folder, such as FOLDER=backups/monday" in complaint
    assert asked == []


def test_make_and_the_page_name_every_operation_and_no_other() -> None:
    known = {name.replace("_", "-") for name in _commands()}
    recipes = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"\$\(OPERATIONS\) ([a-z-]+)", recipes)) == known
    page = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"`make ([a-z-]+)", page)) - {"env", "up"} == known


def _commands() -> list[str]:
    return [command.callback.__name__ for command in operations.app.registered_commands]
