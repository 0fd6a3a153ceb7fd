"""A run that is watched while it trains: which processes there were, with what environment and command lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.deployment.deployed import Deployed, trainings, words
from tests.deployment.engine.container import Container


@dataclass(frozen=True)
class Watched:
    """A run that was published: where each task ran, and what could be seen while it trained."""

    hosts: dict[str, Container | None]
    environments: dict[str, dict[str, str]]
    commands: list[str]


def watch(running: Deployed, run_id: str) -> Watched:
    """Start a run, look at all processes once every GPU worker trains, and wait until it has ended well."""
    running.trigger(run_id)
    running.wait(lambda: all(map(trainings, running.gpu_workers())), run_id)
    processes = [each for one in running.deployment.containers for each in one.processes()]
    environments = {f"{words(each)} {each.pid}": _read_environment(each) for each in processes}
    commands = [" ".join(words(each)) for each in processes]
    assert running.wait_for_end(run_id) == "success", running.describe(run_id)
    return Watched(running.hosts(run_id), environments, commands)


def _read_environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def read_values(secrets: Path) -> dict[str, str]:
    """Return the value of each secret, by its name: nobody may see it."""
    return {path.name: path.read_text().split()[-1] for path in secrets.iterdir()}
