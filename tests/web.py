"""A web server on localhost that gives the answers that a test asks for, good or bad."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    """An answer of the server; `announced` is its Content-Length, the body's own by default."""

    body: bytes = b""
    status: int = 200
    announced: int | None = None
    location: str | None = None


class Web(ThreadingHTTPServer):
    """A server that gives the answers of each path in turn, the last one for ever; unknown paths are 404."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.bodies: list[bytes] = []

    def serve(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return self.base + path


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.authorizations.append(self.headers["Authorization"])
        waiting = self.server.answers.get(self.path, [Answer(status=404)])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        self.send_response(answer.status)
        announced = len(answer.body) if answer.announced is None else answer.announced
        self.send_header("Content-Length", str(announced))
        if answer.location:
            self.send_header("Location", answer.location)
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = True

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    do_PATCH = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running() -> Iterator[Web]:
    """Give a running server."""
    with Web() as web, served(web):
        yield web


@contextlib.contextmanager
def served(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread until the context is left."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
