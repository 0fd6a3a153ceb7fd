"""Read the logs of tasks where workers write them: on their own host, whether or not Airflow answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mf_airflow.embedded.rest import DAG

LINES = 15
CHARACTERS = 200
STARTS = r'(?m)^(?=.*"event":"starts )'


def of(folder: Path, run_id: str, task_id: str) -> list[Path]:
    """Return the log of every attempt at a task, on whatever host of a deployment, in order."""
    return sorted(_found(folder, run_id, task_id), key=_attempt)


def attempts(folder: Path, run_id: str, task_id: str) -> list[str]:
    """Return what was logged of each process that did a task, in order.

    A task that is rescheduled goes on in the same file, on another host in one of the same name.
    """
    logs = (log.read_text(errors="replace") for log in _found(folder, run_id, task_id))
    parts = (part for log in logs for part in re.split(STARTS, log) if re.match(STARTS, part))
    return sorted(parts, key=began)


def began(part: str) -> str:
    """Return the time stamp of the first line of what a process has logged."""
    return re.findall(r'"timestamp":"([^"]+)"', part)[0]


def text(logs: list[Path]) -> str:
    """Return all that logs say."""
    return "".join(log.read_text(errors="replace") for log in logs)


def count_bytes(folder: Path, run_id: str) -> int:
    """Return how much all tasks of a run have logged so far."""
    return sum(log.stat().st_size for log in _found(folder, run_id, "*"))


def ends(folder: Path, run_id: str) -> str:
    """Return the ends of all logs of a run, the latest last, for a person."""
    logs = sorted(_found(folder, run_id, "*"), key=lambda log: log.stat().st_mtime)
    return "\n\n".join(map(_end, logs))


def _found(folder: Path, run_id: str, task_id: str) -> list[Path]:
    of_task = f"dag_id={DAG}/run_id={run_id}/task_id={task_id}"
    return list(folder.glob(f"host-*/logs/{of_task}/attempt=*.log"))


def _attempt(log: Path) -> int:
    [number] = re.findall(r"\d+", log.stem)
    return int(number)


def _end(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([str(log), *map(_brief, lines[-LINES:])])


def _brief(line: str) -> str:
    """Return what a person wants of a line of a task's log."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    causes = [detail["exc_value"] for detail in entry.get("error_detail") or ()]
    return " ".join([entry.get("timestamp", ""), entry["event"][:CHARACTERS], *causes])
