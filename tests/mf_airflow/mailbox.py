"""Servers on localhost that keep what they are sent: one takes POSTs, one takes mail."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.web import served


class Posts(ThreadingHTTPServer):
    """Keep every body that is posted, by path; answer as `status` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.got: dict[str, bytes] = {}
        self.status: dict[str, int] = {}


class _Post(BaseHTTPRequestHandler):
    server: Posts

    def do_POST(self) -> None:
        self.server.got[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def do_GET(self) -> None:
        self.server.got[f"GET {self.path}"] = b""
        self._answer()

    def _answer(self) -> None:
        self.send_response(self.server.status.get(self.path, 200))
        self.send_header("Location", self.server.base + "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Mails(socketserver.ThreadingTCPServer):
    """Keep every command and letter; `tls` is "none", "first" or "starttls"."""

    daemon_threads = True

    def __init__(self, tls: str, context: ssl.SSLContext | None, accepts: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.port = self.server_address[1]
        self.tls, self.context, self.accepts = tls, context, accepts
        self.commands: list[str] = []
        self.letters: list[str] = []


class _Mail(socketserver.BaseRequestHandler):
    server: Mails

    def handle(self) -> None:
        self.secure = False
        with contextlib.suppress(OSError):
            if self.server.tls == "first":
                self._secure()
            self._files()
            self._say("220 here")
            while line := self.file.readline().decode().rstrip("\r\n"):
                self.server.commands.append(line)
                if line.upper() == "QUIT":
                    return self._say("221 bye")
                self._obey(line.partition(" ")[0].upper())
        return None

    def finish(self) -> None:
        self.file.close()
        self.request.close()

    def _obey(self, verb: str) -> None:
        match verb:
            case "EHLO":
                offered = "STARTTLS" if self.server.tls == "starttls" else "AUTH PLAIN"
                self._say("250-here\r\n250 " + ("AUTH PLAIN" if self.secure else offered))
            case "STARTTLS":
                self._say("220 go on")
                self.file.close()
                self._secure()
                self._files()
            case "AUTH":
                self._say("235 fine" if self.server.accepts else "535 5.7.8 wrong")
            case "DATA":
                self._say("354 go on")
                lines = iter(lambda: self.file.readline().decode().rstrip("\r\n"), ".")
                self.server.letters.append("\n".join(lines))
                self._say("250 kept")
            case _:
                self._say("250 fine")

    def _secure(self) -> None:
        assert self.server.context is not None
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.secure = True

    def _files(self) -> None:
        self.file = self.request.makefile("rb")

    def _say(self, line: str) -> None:
        self.request.sendall(f"{line}\r\n".encode())


@contextlib.contextmanager
def posts() -> Iterator[Posts]:
    """Give a running server that takes POSTs."""
    with Posts() as server, served(server):
        yield server


@contextlib.contextmanager
def mails(
    tls: str = "none", certificate: Path | None = None, *, accepts: bool = True
) -> Iterator[Mails]:
    """Give a running mail server; with TLS it shows `certificate`."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with Mails(tls, context, accepts) as server, served(server):
        yield server


def certificate(path: Path) -> Path:
    """Write a certificate for localhost, signed by itself, with its key; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    path.write_bytes(
        made.public_bytes(encoding)
        + key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
