"""Parameters as a person types them in a shell: `epochs=5 overrides.mlp.epochs=3`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mftasks.errors import InvalidPlan, quote


def parse(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `key=value` pairs into parameters; values are JSON if they parse as such.

    `overrides.mlp.epochs=3` reaches into objects. Raises `InvalidPlan` for anything else.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        *path, last = key.split(".")
        target = values
        for part in path:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise InvalidPlan(
                    f"--set {quote(pair)}: {quote(part)} has a value of its own already"
                )
        if not equals:
            raise InvalidPlan(f"--set {quote(pair)} is not of the form key=value")
        target[last] = _decode(text)
    return values


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
