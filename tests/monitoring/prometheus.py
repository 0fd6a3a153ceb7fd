"""A real Prometheus on loopback, with the project's configuration and rules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from mf_airflow.embedded.process import Process, free_ports
from tests import programs

FOLDER = Path(__file__).parents[2] / "docker" / "prometheus"
SCRAPED_EVERY = "1s"  # also the scrape's timeout; one that a busy machine misses ends every alert
EVALUATED_EVERY = "250ms"


class Prometheus:
    """Ask a running Prometheus."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, trust_env=False, timeout=10)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now; fails where it is not valid."""
        answer = self.client.post("/api/v1/query", data={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return list(answer["data"]["result"])

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        return list(self.client.get("/api/v1/alerts").json()["data"]["alerts"])

    def alertmanagers(self) -> list[str]:
        """Return where alerts are sent; one that fires before is sent again a minute later."""
        active = self.client.get("/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
        return [one["url"] for one in active]

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped, with the last error."""
        return list(self.client.get("/api/v1/targets").json()["data"]["activeTargets"])

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            return self.client.get("/-/ready").is_success
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def running(folder: Path, target: str, *, alertmanager: str | None = None) -> Iterator[Prometheus]:
    """Give a Prometheus that scrapes `target` instead of statsd-exporter, and that often.

    Its alerts go to an Alertmanager on loopback, or to none.
    """
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {
        "scrape_interval": SCRAPED_EVERY,
        "scrape_timeout": SCRAPED_EVERY,
        "evaluation_interval": EVALUATED_EVERY,
    }
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [
        {"targets": [alertmanager] if alertmanager else []}
    ]
    config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [
        programs.path("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    prometheus = Prometheus(f"http://{address}")
    with (
        contextlib.closing(prometheus.client),
        Process("Prometheus", command, folder / "prometheus.log") as process,
    ):
        process.wait_for(prometheus.is_ready)
        yield prometheus
