"""A web server in place of an S3 server that answers badly as a test asks it to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from mftasks.store.s3 import PROBE
from tests.web import served


class Request(NamedTuple):
    """What a client asked, and the access key that it signed with."""

    method: str
    path: str
    headers: dict[str, str]
    access_key: str


class Answer(NamedTuple):
    """What the server answers; `announced` is its Content-Length, the body's own by default."""

    status: int = 200
    body: bytes = b""
    announced: int | None = None


def refuse(status: int, code: str) -> Answer:
    """Return a refusal as S3 words it."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


class S3Web(ThreadingHTTPServer):
    """Answer with `answers` in turn, the last one for ever, unless a test sets `answer`; `probe` answers the store's own."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[Request] = []
        self.answers = [Answer()]
        self.probe: Answer | None = refuse(412, "PreconditionFailed")
        self.answer: Callable[[Request], Answer] = lambda _: self._next()

    def _next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def asked(self, method: str) -> list[Request]:
        """Return the requests of one method, without those that probe the server."""
        asked = [one for one in self.requests if one.method == method]
        return [one for one in asked if not one.path.endswith(PROBE)]


class _Handler(BaseHTTPRequestHandler):
    server: S3Web
    protocol_version = "HTTP/1.1"  # boto3 waits for it to agree to a put

    def _respond(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        signer = re.search("Credential=([^/]+)/", headers.get("authorization", ""))
        key = signer.group(1) if signer else ""
        request = Request(self.command, self.path, headers, key)
        self.server.requests.append(request)
        probe = self.server.probe if self.path.endswith(PROBE) else None
        answer = probe or self.server.answer(request)
        self.send_response(answer.status)
        announced = len(answer.body) if answer.announced is None else answer.announced
        self.send_header("Content-Length", str(announced))
        self.send_header("ETag", '"etag"')
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _respond  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running() -> Iterator[S3Web]:
    """Give a running server."""
    with S3Web() as web, served(web):
        yield web
