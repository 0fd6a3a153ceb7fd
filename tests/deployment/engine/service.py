"""What docker-compose.yaml says of a service, as the real compose binary renders it."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

# What only an engine, or only another machine, can do: limits, GPUs, images, logs.
LEFT_TO_AN_ENGINE = {"build", "deploy", "logging", "profiles", "pull_policy"}
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Refuse what is not understood here, so that nothing of the file is left out unnoticed."""


class Secret(Strict):
    """A secret, and the file that shows it."""

    source: str
    target: str


class Mount(Strict):
    """A mounted volume, by its name, or a mounted path of the host."""

    type: Literal["volume", "bind"]
    source: str
    target: str
    read_only: bool = False
    volume: dict[str, Any] = {}
    bind: dict[str, Any] = {}


class Network(Strict):
    """The other names of a service on a network."""

    aliases: list[str] = []


class Port(Strict):
    """A published port."""

    target: int
    published: str
    host_ip: str
    mode: Literal["ingress"]
    protocol: Literal["tcp", "udp"]


class Dependency(Strict):
    """The state that another service must have reached before one is started."""

    condition: Literal["service_healthy", "service_completed_successfully", "service_started"]
    required: bool = True


class Healthcheck(Strict):
    """The health check of a service, and how often it is made."""

    test: list[str]
    interval: str
    timeout: str
    retries: int
    start_period: str
    start_interval: str


class Service(Strict, kw_only=True):
    """A service; literals are what this project requires of every service."""

    image: str
    hostname: str = ""
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    environment: dict[str, str] = {}
    user: str
    working_dir: str = "/"
    read_only: Literal[True]
    init: Literal[True]
    cap_drop: Literal["ALL"]
    security_opt: Literal["no-new-privileges:true"]
    restart: Literal["no", "unless-stopped"]
    stop_signal: str = "SIGTERM"
    stop_grace_period: str = "10s"
    shm_size: str = "64m"
    tmpfs: list[str] = []
    secrets: list[Secret] = []
    volumes: list[Mount] = []
    networks: dict[str, Network | None]
    ports: list[Port] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None

    def aliases(self, network: str) -> list[str]:
        """Return by which other names it is known on a network."""
        given = self.networks[network]
        return given.aliases if given else []


def read(given: dict[str, Any]) -> Service:
    """Return a service as `docker-compose config --format json` gives it."""
    kept = {name: said for name, said in given.items() if name not in LEFT_TO_AN_ENGINE}
    for name in ("cap_drop", "security_opt"):
        [kept[name]] = given[name]
    return msgspec.convert(_unescape(kept), Service)


def seconds(duration: str) -> float:
    """Return how long `1m30s` is."""
    return sum(float(n) * UNITS[unit] for n, unit in re.findall(r"([\d.]+)([a-z]+)", duration))


def _unescape(given: Any) -> Any:
    """Undo that a rendered file is fit to be read by compose once more."""
    match given:
        case dict():
            return {name: _unescape(said) for name, said in given.items()}
        case list():
            return [_unescape(said) for said in given]
        case str():
            return given.replace("$$", "$")
    return given
