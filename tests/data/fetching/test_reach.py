from __future__ import annotations

import socket
from typing import Any

import pytest

from mftasks.data.fetching import reach
from mftasks.data.fetching.reach import Reach, Refused
from mftasks.errors import SourceUnavailable

PUBLIC = Reach(hosts="")


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the addresses of names; no test asks a real server for one."""
    known = {"shop.example": "203.0.113.9", "good.example": "93.184.215.14"}

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        address = known.get(host, host)
        if not address[:1].isdigit() and ":" not in address:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    return known


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://169.254.169.254/latest/meta-data/",
            "http://127.0.0.1:8080/",
            "http://10.0.0.7/a",
        ),
        *("http://192.168.1.1/", "http://[::1]/a", "http://[fe80::1]/a", "http://0.0.0.0/"),
        *("http://[::ffff:10.0.0.7]/a", "http://[64:ff9b::a9fe:a9fe]/a", "http://224.0.0.1/"),
        *("http://[2002:0a00:0007::]/a", "http://shop.example/a.csv"),
    ],
)
def test_addresses_that_are_not_public_are_refused_by_default(url: str) -> None:
    with pytest.raises(Refused, match="which is not public; name the host in MF_DATA_HOSTS"):
        PUBLIC.check_url(url)


def test_public_hosts_are_read_by_default_and_one_without_address_does_not_answer() -> None:
    PUBLIC.check_url("https://good.example/a.csv")
    with pytest.raises(SourceUnavailable, match=r"host 'nobody\.example' has no address"):
        PUBLIC.check_url("https://nobody.example/a.csv")


def test_hosts_that_are_named_are_read_and_no_others() -> None:
    only = Reach(hosts="files.internal, 10.0.0.7:8080")
    only.check_url("http://FILES.internal/a.csv")
    only.check_url("http://10.0.0.7:8080/a.csv")
    for url in ("http://10.0.0.7/a.csv", "https://good.example/a.csv"):
        with pytest.raises(Refused, match="is none of those in MF_DATA_HOSTS, files"):
            only.check_url(url)


def test_any_host_is_read_if_so_set() -> None:
    Reach(hosts="*").check_url("http://169.254.169.254/")


def test_behind_a_proxy_addresses_and_localhost_are_refused_and_names_are_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert reach.goes_by_proxy("nobody.example", "http")
    PUBLIC.check_url("http://nobody.example/a.csv")
    for url in ("http://10.0.0.7/a", "http://localhost/a"):
        with pytest.raises(Refused, match="not public"):
            PUBLIC.check_url(url)


def test_more_bytes_than_allowed_are_refused() -> None:
    Reach(n_bytes=10).check_size(10)
    with pytest.raises(Refused, match="more than the 10 bytes that MF_DATA_BYTES allows"):
        Reach(n_bytes=10).check_size(11)
