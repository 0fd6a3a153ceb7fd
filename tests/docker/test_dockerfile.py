"""The Dockerfile and its scripts, as far as they can be judged without building anything."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import programs
from tests.docker import compose, dockerfile
from tests.docker.compose import ROOT

TARGETS = ("airflow", "gpu")


def scripts() -> list[str]:
    """Return every script of the shell that git knows."""
    asked = ["git", "grep", "--files-with-matches", "--untracked", "-e", "^#!/bin/sh$"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_hadolint_has_nothing_to_say() -> None:
    asked = [compose.tool("hadolint"), "--no-color", str(dockerfile.DOCKERFILE)]
    judged = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout) == (0, "")


@pytest.mark.parametrize("script", scripts())
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    judged = subprocess.run(
        [programs.path("shellcheck"), "--shell=sh", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (judged.returncode, judged.stdout) == (0, "")
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_takes_from_the_checkout_only_what_the_builder_is_sent(target: str) -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed
    sources = {
        source
        for step in dockerfile.steps(target)
        if step.verb == "COPY" and not step.words.startswith("--from=")
        for source in step.words.split()[:-1]
    }
    assert {"dags", "plugins", "mftasks"} <= sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}{'/' if (ROOT / source).is_dir() else ''}" in allowed


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_run_by_a_user_who_owns_nothing_in_it(target: str) -> None:
    users = [step.words for step in dockerfile.steps(target) if step.verb == "USER"]
    assert users == ["50000:50000"]
    assert not [step for step in dockerfile.steps(target) if "--chown" in step.words]


def test_images_start_from_a_pinned_python_that_the_project_supports() -> None:
    version = re.search(r"^ARG PYTHON=(\S+)$", dockerfile.DOCKERFILE.read_text(), re.MULTILINE)
    assert version is not None
    assert re.fullmatch(r"3\.11\.\d+-slim-bookworm", version[1])


def test_the_gpu_image_finds_every_library_of_nvidia_that_it_installs() -> None:
    requirements = (ROOT / "docker" / "requirements-gpu.txt").read_text()
    installed = set(re.findall(r"^nvidia-(\w[\w-]+)-cu11==", requirements, re.MULTILINE))
    path = dockerfile.environment("gpu")["LD_LIBRARY_PATH"].split(":")
    named = {Path(folder).parent.name.replace("_", "-") for folder in path}
    assert named == installed
    assert "LD_LIBRARY_PATH" not in dockerfile.environment("airflow")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_finds_its_code_and_its_libraries(target: str) -> None:
    variables = dockerfile.environment(target)
    assert variables["PATH"].startswith("/opt/airflow/venv/bin:")
    assert variables["PYTHONPATH"] == "/opt/airflow:/opt/airflow/plugins"
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == "/opt/airflow/dags"
    assert variables["AIRFLOW__CORE__PLUGINS_FOLDER"] == "/opt/airflow/plugins"
