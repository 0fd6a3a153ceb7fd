"""Read docker/Dockerfile: the steps of a target, and the variables that its image sets."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
PREFIX = "/opt/airflow"


class Step(NamedTuple):
    """An instruction of a stage."""

    stage: str
    verb: str
    words: str


def steps(target: str) -> list[Step]:
    """Return what is done for a target, other stages that it copies from included, in order."""
    every = list(_all_steps())
    wanted = _stages_of(target, every)
    return [step for step in every if step.stage in wanted]


def environment(target: str) -> dict[str, str]:
    """Return the variables that an image sets; those of the build itself are not among them."""
    every = list(_all_steps())
    parents = {step.stage: step.words for step in every if step.verb == "FROM"}
    line = [target]
    while parents[line[0]] in parents:
        line.insert(0, parents[line[0]])
    variables: dict[str, str] = {"PATH": os.environ["PATH"]}
    for step in (step for stage in line for step in every if step[:2] == (stage, "ENV")):
        for name, value in _pairs(step.words):
            variables[name] = re.sub(r"\$(\w+)", lambda found: variables[found[1]], value)
    return variables


def _all_steps() -> Iterator[Step]:
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    stage = ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        verb, _, words = line.partition(" ")
        if verb == "FROM":
            words, _, stage = words.partition(" AS ")
        if verb:
            yield Step(stage, verb, words)


def _stages_of(target: str, every: list[Step]) -> set[str]:
    """Return the stages that a target is made of."""
    found = {target}
    for step in (step for step in every if step.stage == target):
        if step.verb == "FROM" and any(other.stage == step.words for other in every):
            found |= _stages_of(step.words, every)
        if copied := re.match(r"--from=(\S+)", step.words):
            found |= _stages_of(copied[1], every)
    return found


def _pairs(words: str) -> Iterator[tuple[str, str]]:
    for pair in shlex.split(words):
        name, _, value = pair.partition("=")
        yield name, value
