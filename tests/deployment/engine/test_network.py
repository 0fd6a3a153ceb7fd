from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.deployment import deployed
from tests.deployment.engine.network import Networks, namespace
from tests.waiting import wait

pytestmark = pytest.mark.skipif(bool(deployed.why_not()), reason=deployed.why_not())

# It goes on telling one who asked once, who may have gone meanwhile.
SERVES = """
import socket, time
server = socket.create_server(("0.0.0.0", 8080))
print("serves", flush=True)
while True:
    asked, _ = server.accept()
    print("asked", flush=True)
    while True:
        asked.sendall(b"1")
        time.sleep(0.05)
"""
ASKS = """
import socket, sys, time
while True:
    try:
        asked = socket.create_connection((sys.argv[1], 8080), 5)
        print("answered:", asked.recv(1), flush=True)
        time.sleep(100)
    except ConnectionRefusedError as error:
        print(error, flush=True)
    except OSError:
        time.sleep(0.05)
"""


@contextlib.contextmanager
def host(networks: Networks, address: str, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python on a host of its own, and unplug that in the end."""
    waits = ["unshare", "--net", "sh", "-c", 'read -r go && exec "$@"', "sh", sys.executable, "-c"]
    with subprocess.Popen(
        [*waits, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        own = namespace(process.pid)
        wait(lambda: not own.samefile("/proc/self/ns/net"), 5, str)
        networks.plug(process.pid, {"inside": address})
        process.stdin.write("go\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()
            networks.unplug([address])


def test_an_address_is_that_of_whom_it_was_given_last_though_another_has_more_to_say() -> None:
    networks = Networks(["inside"])
    try:
        server, first, second = (networks.address("inside") for _ in range(3))
        with host(networks, server, SERVES) as serving:
            assert serving.stdout.readline() == "serves\n"
            with host(networks, first, ASKS, server) as asking:
                assert asking.stdout.readline() == "answered: b'1'\n"
                networks._on_host("link set link2 down")  # it cannot say that it goes
            assert serving.stdout.readline() == "asked\n"
        with host(networks, server, SERVES) as serving:
            assert serving.stdout.readline() == "serves\n"
            with host(networks, second, ASKS, server) as asking:
                assert asking.stdout.readline() == "answered: b'1'\n"
    finally:
        networks.close()
