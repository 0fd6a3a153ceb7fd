"""A stand-in for the task state store, which refuses what Airflow's own refuses."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue, TypeAdapter


class StateStore:
    """Take what a task stores, in order."""

    def __init__(self) -> None:
        self.values: list[tuple[str, Any]] = []

    def set(self, key: str, value: Any) -> None:
        self.values.append((key, TypeAdapter(JsonValue).validate_python(value)))
