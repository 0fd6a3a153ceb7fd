"""Parameters as a person types them in a shell: `epochs=5 overrides.mlp.epochs=3`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mftasks.data import uris
from mftasks.errors import InvalidPlan, quote


def parse(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `key=value` pairs into parameters; values are JSON if they parse as such.

    `overrides.mlp.epochs=3` reaches into objects; a path of a data set is one of the current folder.
    Raises `InvalidPlan` for anything else.
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
    return complete(values)


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the whole path of a data set, as if it was typed in the current folder."""
    dataset = given.get("dataset")
    if not isinstance(dataset, str):
        return dict(given)
    return {**given, "dataset": uris.complete(dataset, Path.cwd())}


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
