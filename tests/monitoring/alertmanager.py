"""A real Alertmanager on loopback, started by the script that starts it in its container."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from mf_airflow.embedded.process import Process, free_ports
from tests import programs

START = Path(__file__).parents[2] / "docker" / "alertmanager" / "start"


@contextlib.contextmanager
def running(folder: Path, **notify: str) -> Iterator[str]:
    """Give the address of an Alertmanager that sends alerts to the addresses in `notify`."""
    for name in ("bin", "data", "run"):
        (folder / name).mkdir(parents=True)
    (folder / "bin" / "alertmanager").symlink_to(programs.path("prometheus-alertmanager"))
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    with Process(
        "alertmanager",
        ["sh", str(START), str(folder / "data"), str(folder / "run"), f"--web.listen-address={address}"],
        folder / "log",
        environment={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **notify},
        grace=2,
    ) as process:  # fmt: skip
        process.wait_for(lambda: _is_healthy(address))
        yield address


def _is_healthy(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/healthy", trust_env=False).is_success
    except httpx.TransportError:
        return False
