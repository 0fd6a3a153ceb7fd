"""A stand-in for the task state store, which refuses what Airflow's own refuses."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue, TypeAdapter


class StateStore:
    """Take what a task stores, in order."""

    def __init__(self) -> None:
        self.values: list[tuple[str, Any]] = []

    def get(self, key: str, default: Any = None) -> Any:
        return dict(self.values).get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values.append((key, TypeAdapter(JsonValue).validate_python(value)))
