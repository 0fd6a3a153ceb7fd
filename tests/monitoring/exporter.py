"""Stand in for statsd-exporter, which no package brings: take UDP, map it, and show /metrics.

It reads the very file that statsd-exporter gets, and does of its rules what that file uses: InfluxDB's
tags; globs, where a star is one part of a name; regular expressions after all globs; labels, `drop`,
types; timings in seconds, as _sum and _count without quantiles. It forgets nothing, whatever `ttl` says.
https://github.com/prometheus/statsd_exporter
"""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from tests.web import served

Kind = Literal["counter", "gauge", "observer"]
Labels = frozenset[tuple[str, str]]

KINDS: dict[str, Kind] = {"c": "counter", "g": "gauge", "ms": "observer"}
SHOWN = {"counter": "counter", "gauge": "gauge", "observer": "summary"}
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]+")
GLOB = re.compile(r"(\*|[a-zA-Z_][\w-]*)(\.(\*|[\w-]+))*")


class Mapping(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of the mappings; unknown keys are refused."""

    match: str
    name: str
    match_type: Literal["glob", "regex"] = "glob"
    match_metric_type: Kind | None = None
    action: Literal["map", "drop"] = "map"
    help: str = ""
    ttl: str = ""
    labels: dict[str, str] = {}

    def found_in(self, name: str, kind: Kind) -> re.Match[str] | None:
        """Return how the entry matches a metric."""
        if self.match_metric_type not in (None, kind):
            return None
        if self.match_type == "regex":
            return re.search(self.match, name)
        assert GLOB.fullmatch(self.match), self.match
        return re.fullmatch(re.escape(self.match).replace(r"\*", r"([^.]*)"), name)


class Exporter:
    """All series by name and labels; `refused` are the lines that could not be parsed."""

    def __init__(self, mappings: Path) -> None:
        read = yaml.safe_load(mappings.read_text())
        assert read["defaults"] == {"match_type": "glob", "observer_type": "summary"}
        given = msgspec.convert(read["mappings"], list[Mapping])
        self.mappings = sorted(given, key=lambda mapping: mapping.match_type == "regex")
        self.kinds: dict[str, Kind] = {}
        self.values: dict[tuple[str, Labels], float] = {}
        self.counts: dict[tuple[str, Labels], int] = {}
        self.used: set[str] = set()
        self.refused: list[str] = []
        self.lock = threading.Lock()

    def take(self, packet: str) -> None:
        """Take the lines of one packet: `name,tag=value:number|type`."""
        for line in packet.splitlines():
            head, _, sample = line.partition(":")
            name, *tags = head.split(",")
            number, _, kind = sample.partition("|")
            try:
                with self.lock:
                    self._sort(name, dict(tag.split("=") for tag in tags), number, KINDS[kind])
            except (ValueError, KeyError, AssertionError):
                self.refused.append(line)

    def text(self) -> str:
        """Return all series as Prometheus fetches them."""
        with self.lock:
            return "\n".join([*self._lines(), ""])

    def _sort(self, name: str, tags: dict[str, str], number: str, kind: Kind) -> None:
        found = ((mapping, mapping.found_in(name, kind)) for mapping in self.mappings)
        mapping, match = next(pair for pair in found if pair[1])
        assert match
        if mapping.action == "drop":
            return
        self.used.add(f"{mapping.match} {kind}")
        made = {label: _fill(value, match) for label, value in mapping.labels.items()}
        labels = frozenset((tags | made).items())
        assert all(LABEL.fullmatch(label) for label, _ in labels), labels
        series = (re.sub(r"\W", "_", _fill(mapping.name, match)), labels)
        assert self.kinds.setdefault(series[0], kind) == kind, series
        self._add(series, kind, number)

    def _add(self, series: tuple[str, Labels], kind: Kind, number: str) -> None:
        value, before = float(number), self.values.get(series, 0.0)
        if kind == "gauge" and number[0] not in "+-":
            before = 0.0
        assert kind != "counter" or value >= 0
        self.values[series] = before + (value / 1000 if kind == "observer" else value)
        self.counts[series] = self.counts.get(series, 0) + 1

    def _lines(self) -> Iterator[str]:
        for name, kind in self.kinds.items():
            yield f"# TYPE {name} {SHOWN[kind]}"
            for (one, labels), value in self.values.items():
                if one == name:
                    shown = "{" + ",".join(f'{key}="{said}"' for key, said in sorted(labels)) + "}"
                    suffix = "_sum" if kind == "observer" else ""
                    yield f"{name}{suffix}{shown} {value!r}"
                    if suffix:
                        yield f"{name}_count{shown} {self.counts[one, labels]}"


class Running(msgspec.Struct):
    """A running exporter with its ports."""

    exporter: Exporter
    udp_port: int
    http_port: int


@contextlib.contextmanager
def running(
    mappings: Path, *, host: str = "127.0.0.1", udp_port: int = 0, http_port: int = 0
) -> Iterator[Running]:
    """Give an exporter that listens, on loopback and free ports by default."""
    exporter = Exporter(mappings)

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            exporter.take(self.request[0].decode())

    class Http(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"OK\n" if self.path == "/-/healthy" else exporter.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with (
        socketserver.UDPServer((host, udp_port), Udp) as udp,
        ThreadingHTTPServer((host, http_port), Http) as http,
        served(udp),
        served(http),
    ):
        yield Running(exporter, udp.server_address[1], http.server_port)


def _fill(template: str, match: re.Match[str]) -> str:
    return re.sub(r"\$\{?(\d+)\}?", lambda number: match[int(number[1])], template)
