"""Which tests start a server: they are marked `server`, and any other that starts one fails.

A test is marked if its code, or that of a fixture or a helper which it uses, names one of `STARTERS`.
What this does not see, such as a command that starts servers, carries the mark in its file.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

STARTERS = (
    "mf_airflow.embedded.process.Process",
    "playwright.sync_api.sync_playwright",
    "tests.deployment.engine.container.Container",
)
HELPERS = ("tests.", "mf_airflow.embedded.")
PROGRAMS = {
    "alertmanager",
    "api-server",
    "celery",
    "chromium",
    "dag-processor",
    "initdb",
    "mf_airflow.embedded",
    "postgres",
    "prometheus",
    "prometheus-alertmanager",
    "redis-server",
    "scheduler",
    "weed",
}

_running: list[pytest.Item] = []


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server."""
    for item in items:
        if isinstance(item, pytest.Function) and _uses_server(item):
            item.add_marker("server")


@contextlib.contextmanager
def refused_unless_marked(item: pytest.Item) -> Iterator[None]:
    """Fail the test if it starts a server and is not marked."""
    _running.append(item)
    try:
        yield
    finally:
        _running.pop()


def names_starter(function: Any) -> bool:
    """Say whether a function names one of `STARTERS`, itself or in the helpers that it names."""
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        one = inspect.unwrap(waiting.pop())
        if id(one) in seen:
            continue
        seen.add(id(one))
        module, name = getattr(one, "__module__", None), getattr(one, "__qualname__", None)
        if f"{module}.{name}" in STARTERS:
            return True
        if isinstance(one, type) and str(module).startswith(HELPERS):
            waiting += [method for method in vars(one).values() if callable(method)]
        elif isinstance(one, FunctionType) and str(module).startswith(HELPERS):
            waiting += _named_in(one)
    return False


def _uses_server(item: pytest.Function) -> bool:
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(
        map(names_starter, [item.function, *(one.func for each in fixtures for one in each)])
    )


def _named_in(function: FunctionType) -> Iterator[Any]:
    """Yield the functions and classes that the code of a function names."""
    names = list(_names(function.__code__))
    for name in names:
        found = function.__globals__.get(name)
        if isinstance(found, ModuleType):
            yield from filter(callable, (vars(found).get(other) for other in names))
        elif callable(found):
            yield found


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "subprocess.Popen" or not _running:
        return
    words = {Path(str(word)).name for word in [arguments[0], *arguments[1]]}
    [item] = _running
    if words & PROGRAMS and item.get_closest_marker("server") is None:
        pytest.fail(f"{item.nodeid} starts {words & PROGRAMS}: mark it with pytest.mark.server")


sys.addaudithook(_refuse)
