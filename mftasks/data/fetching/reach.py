"""What a data set of the user's own may be read from: which folders, which hosts, how many bytes.

Whoever may trigger a run chooses its data set. Without these limits it could read any file of a worker,
and whatever answers on the worker's network, such as the metadata service of a cloud.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from mftasks.errors import SourceUnavailable, quote

ANY_HOST = "*"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(SourceUnavailable):
    """A source that answers and does not have the file, or may not be asked for it."""


class Reach(NamedTuple):
    """What may be read: files below `roots` (any if empty), from `hosts`, `n_bytes` at most.

    `roots` have colons between them, `hosts` commas. Without hosts, those of public addresses may be
    read from; `*` is any.
    """

    roots: str = ""
    hosts: str = ANY_HOST
    n_bytes: int | None = None

    def check_file(self, path: Path) -> None:
        """Raise `Refused` for a file outside of the folders, links followed."""
        allowed = [Path(root).resolve() for root in self.roots.split(":") if root]
        if allowed and not any(path.resolve().is_relative_to(root) for root in allowed):
            raise Refused(
                f"{quote(str(path))} lies outside the folders of MF_DATA_ROOTS, {self.roots}; "
                "put it into one of them"
            )

    def check_url(self, url: str) -> None:
        """Raise `Refused` for a host that must not be asked; one without an address does not answer."""
        if self.hosts == ANY_HOST:
            return
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
        if self.hosts:
            allowed = [one.strip().lower() for one in self.hosts.split(",")]
            if not {host, f"{host}:{port}"} & set(allowed):
                raise Refused(
                    f"host {quote(host)} is none of those in MF_DATA_HOSTS, {self.hosts}; add it there"
                )
            return
        for address in self._resolve(host, parts.scheme):
            self.check_address(host, address)

    def check_address(self, host: str, address: str) -> None:
        """Raise `Refused` for a host that is not public, unless it is named."""
        if not self.hosts and not _is_public(address):
            raise Refused(
                f"host {quote(host)} has the address {address}, which is not public; name the host in "
                "MF_DATA_HOSTS if runs may read from it"
            )

    def check_size(self, n_bytes: int) -> None:
        """Raise `Refused` for more bytes than may be read."""
        if self.n_bytes is not None and n_bytes > self.n_bytes:
            raise Refused(
                f"more than the {self.n_bytes:,} bytes that MF_DATA_BYTES allows; raise it, or take "
                "fewer files"
            )

    def _resolve(self, host: str, scheme: str) -> list[str]:
        """Return the addresses of a host; only its proxy knows those of one that is read through it."""
        if goes_by_proxy(host, scheme):
            return [host] if _is_address(host) else []
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise SourceUnavailable(f"host {quote(host)} has no address: {error}") from error
        return sorted({str(one[4][0]) for one in found})


def goes_by_proxy(host: str, scheme: str) -> bool:
    """Return whether the environment names a proxy for a host."""
    proxies = urllib.request.getproxies()
    return bool(proxies.get(scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _is_public(address: str) -> bool:
    if address == "localhost":
        return False
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return False
        found = found.ipv4_mapped or found.sixtofour or found
    return found.is_global and not found.is_multicast
