"""Read docker/Dockerfile, and do what it does in a folder, without Docker.

Its stages become one: where Docker would copy a folder from another stage, it is there already. What
needs root is left out: Debian's packages and users.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
PREFIX = "/opt/airflow"
OF_ROOT = ("apt-get ", "groupadd ")


class Step(NamedTuple):
    """Hold an instruction of a stage."""

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


def folder_of(image: Path) -> Path:
    """Return where the image's own folder lies below `image`."""
    return image / PREFIX.lstrip("/")


def moved(text: str, image: Path) -> str:
    """Return a text of an image as it reads where that lies below `image`."""
    return text.replace(PREFIX, str(folder_of(image)))


def build(target: str, image: Path, given: dict[str, str]) -> None:
    """Do below `image` what the Dockerfile does for a target; `given` is the builder's environment."""
    folder_of(image).mkdir(parents=True)
    own = {name: moved(value, image) for name, value in environment(target).items()}
    for step in steps(target):
        if step.verb == "COPY":
            _copy(step.words, image)
        elif step.verb == "RUN" and not step.words.startswith(OF_ROOT):
            last = step.stage == target
            run(moved(step.words, image), image, given | own if last else given)


def run(command: str, image: Path, variables: dict[str, str]) -> str:
    """Run a command of an image in its folder, and return what it says; fails where it fails."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder_of(image),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


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


def _copy(words: str, image: Path) -> None:
    *sources, to = words.split()
    target = folder_of(image) / to
    for source in sources:
        if source.startswith("--from="):
            return
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / source, target)
