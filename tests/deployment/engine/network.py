"""The networks of a Docker host, seen by nothing else on this machine.

Their bridges lie in a network namespace of their own, and so do the ends that containers are plugged in by. All
vanishes with the process that holds the namespace, and that dies with the thread that made it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUBNET = "172.30"
OUTSIDE = "outside"  # as docker-compose.yaml calls the network whose containers reach other hosts
LAN = "default"  # the one by which hosts reach each other; containers of a second host are plugged into it
LAN_NUMBER = 9
HOST = f"{SUBNET}.{LAN_NUMBER}.1"  # the first host's own address there
OTHER_HOST = f"{SUBNET}.{LAN_NUMBER}.2"
CLONE_NEWNET = 0x40000000


class Networks:
    """Bridges, one per network; a container with an address of a network reaches all others on it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._numbers = {name: n for n, name in enumerate(names)} | {LAN: LAN_NUMBER}
        self._given = dict.fromkeys(self._numbers, 1)
        self._links = 0
        self._plugged: dict[str, str] = {}
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        self._holder = subprocess.Popen(command)
        self._forwards: list[Forward | UdpForward] = []
        while namespace(self._holder.pid).samefile(namespace(os.getpid())):
            time.sleep(0.01)
        for n in self._numbers.values():
            self._on_host(
                f"link add br{n} type bridge",
                f"addr add {SUBNET}.{n}.1/24 dev br{n}",
                f"link set br{n} up",
            )
        inside = ["nsenter", "--target", str(self._holder.pid), "--net"]
        routes = ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]
        subprocess.run([*inside, *routes], check=True)

    def close(self) -> None:
        """Take everything down; connections that are open hang."""
        for forward in self._forwards:
            forward.shutdown()
            forward.server_close()
        self._holder.kill()
        self._holder.wait()

    def address(self, name: str) -> str:
        """Give an address of a network that nobody has."""
        self._given[name] += 1
        return f"{SUBNET}.{self._numbers[name]}.{self._given[name]}"

    def plug(self, pid: int, addresses: dict[str, str]) -> None:
        """Give the network namespace of a process an interface for each network's address."""
        for n, (name, address) in enumerate(addresses.items()):
            self._links += 1
            self._plugged[address] = f"link{self._links}"
            # As with Docker, an address has one hardware address for ever: others remember it.
            hardware = "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))
            peer = f"peer name eth{n} address {hardware} netns {pid}"
            self._on_host(
                f"link add link{self._links} type veth {peer}",
                f"link set link{self._links} master br{self._numbers[name]}",
                f"link set link{self._links} up",
            )
            _ip(pid, f"addr add {address}/24 dev eth{n}", f"link set eth{n} up")
            if (other := {OUTSIDE: LAN, LAN: OUTSIDE}.get(name)) in self._numbers:
                ours, theirs = self._numbers[name], self._numbers[other]
                _ip(pid, f"route add {SUBNET}.{theirs}.0/24 via {SUBNET}.{ours}.1")

    def unplug(self, addresses: Iterable[str]) -> None:
        """Take the interfaces of addresses away, as an engine does when a container ends.

        A namespace outlives its processes while connections of theirs wait for an answer; until then two
        would have the same address, and one of them refuse what is meant for the other.
        """
        plugged = [self._plugged.pop(each) for each in addresses if each in self._plugged]
        # Those that have gone with their namespace are not found.
        _ip(self._holder.pid, *(f"link del {link}" for link in plugged), force=True)

    def forward(
        self,
        address: str,
        port: int,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        *,
        protocol: str = "tcp",
    ) -> int:
        """Publish a port of a container, on loopback of this machine or on the host's address; return which one."""
        publish = Forward if protocol == "tcp" else UdpForward
        inside = namespace(self._holder.pid)
        with ThreadPoolExecutor(1) as thread:
            if listen[0] != "127.0.0.1":
                thread.submit(_enter, inside).result()
            forward = thread.submit(publish, listen, (address, port), inside).result()
        threading.Thread(target=forward.serve_forever, args=(0.1,), daemon=True).start()
        self._forwards.append(forward)
        return int(forward.server_address[1])

    def _on_host(self, *commands: str) -> None:
        _ip(self._holder.pid, *commands)


def namespace(pid: int) -> Path:
    """Return the file that stands for the network namespace of a process."""
    return Path(f"/proc/{pid}/ns/net")


def listening(pid: int, address: str) -> set[int]:
    """Return the TCP ports that are open at an address of the namespace of a process."""
    own = _in_hex(address)
    return {
        int(port, 16)
        for (at, port), _, state in _sockets(pid)
        if state == "0A" and (set(at) == {"0"} or at.endswith(own))
    }


def connected(pid: int, address: str) -> set[str]:
    """Return whom the namespace of a process has connected to from an address, as `address:port`."""
    own = _in_hex(address)
    open_ports = listening(pid, address)
    return {
        f"{socket.inet_ntoa(bytes.fromhex(to[-8:])[::-1])}:{int(port, 16)}"
        for (at, own_port), (to, port), state in _sockets(pid)
        if state == "01" and at.endswith(own) and int(own_port, 16) not in open_ports
    }


def _sockets(pid: int) -> Iterator[tuple[tuple[str, str], tuple[str, str], str]]:
    """Give the own end of each TCP socket of a namespace, the other end, and its state, as the kernel writes them."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            (at, _, port), (to, _, there) = local.partition(":"), remote.partition(":")
            yield (at, port), (to, there), state


def _in_hex(address: str) -> str:
    return socket.inet_aton(address)[::-1].hex().upper()


class Forward(socketserver.ThreadingTCPServer):
    """A port here whose connections are continued from inside a network namespace."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, listen: tuple[str, int], to: tuple[str, int], inside: Path) -> None:
        self.to = to
        self.inside = inside
        super().__init__(listen, _Forwarded)


class UdpForward(socketserver.ThreadingUDPServer):
    """A port here whose packets are sent on from inside a network namespace."""

    daemon_threads = True

    def __init__(self, listen: tuple[str, int], to: tuple[str, int], inside: Path) -> None:
        self.to = to
        self.inside = inside
        super().__init__(listen, _ForwardedPacket)


class _ForwardedPacket(socketserver.BaseRequestHandler):
    server: UdpForward

    def handle(self) -> None:
        _enter(self.server.inside)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(self.request[0], self.server.to)


class _Forwarded(socketserver.BaseRequestHandler):
    server: Forward

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            _enter(self.server.inside)
            with socket.create_connection(self.server.to, timeout=5) as other:
                other.settimeout(None)
                _pass_on(self.request, other)


def _enter(inside: Path) -> None:
    """Take this thread, and no other one, into a network namespace."""
    with inside.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns failed")


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Pass on what each says to the other, until both have said all."""
    to = {one: other, other: one}
    while to:
        for said in select.select(list(to), [], [])[0]:
            if data := said.recv(1 << 16):
                to[said].sendall(data)
            else:
                to.pop(said).shutdown(socket.SHUT_WR)


def _ip(pid: int, *commands: str, force: bool = False) -> None:
    """Run commands of `ip` in the network namespace of a process; all of them, if by force."""
    how = ["-force"] if force else []
    done = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", "ip", *how, "-batch", "-"],
        input="\n".join(commands),
        text=True,
        check=False,
        capture_output=True,
    )
    assert force or done.returncode == 0, f"{commands}: {done.stderr}"
