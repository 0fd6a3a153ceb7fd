"""Run docker-compose.yaml without Docker: what `docker compose up` does, by an engine of a few hundred lines.

with compose.running(source.copy(folder), folder) as deployment:
    deployment.wait_until_healthy()
    deployment.container("worker").kill()

The real compose binary reads the file; every service then runs with its own command, user, mounts and
networks (`container`), with what its image would bring from what is installed here (`image`). Order of start,
health checks, restarts and the way of stopping are as the file says. Limits of memory and CPU are not kept,
and there are no GPUs.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mf_airflow.embedded.process import last_lines
from tests.deployment.engine import source
from tests.deployment.engine.container import Container
from tests.deployment.engine.image import Images
from tests.deployment.engine.network import Networks
from tests.waiting import wait

EVERY_SECONDS = 0.1
PATIENCE_SECONDS = 240.0  # without any progress


class Deployment:
    """The containers of a checkout that has its .env; volumes and logs are in `folder`."""

    def __init__(self, checkout: Path, folder: Path, networks: Networks | None = None) -> None:
        self.rendered = source.render(checkout)
        config = json.loads(self.rendered)
        self.services = source.read_services(self.rendered)
        self.memory = {
            name: int(given["deploy"]["resources"]["limits"]["memory"])
            for name, given in config["services"].items()
        }
        self.folder = folder
        self.containers: list[Container] = []
        self.checkout = checkout
        self._files = {name: Path(given["file"]) for name, given in config["secrets"].items()}
        self._images = Images(checkout, folder / "images")
        self.networks = networks or Networks(config["networks"])
        self._has_own_networks = networks is None
        self._closing = threading.Event()
        self._error: BaseException | None = None
        (folder / "logs").mkdir()
        for name in self.services:
            self.add(name)
        self._engine = threading.Thread(target=self._run)
        self._engine.start()

    def add(self, name: str, **settings: str) -> Container:
        """Add a container of a service; those after the first are as on hosts of their own.

        They share nothing with the first one but networks and secrets. Their host's .env may have other settings.
        """
        number = 1 + sum(each.of == name for each in self.containers)
        given = (
            source.read_services(source.render(self.checkout, **settings))
            if settings
            else self.services
        )
        added = Container(
            f"{name}-{number}",
            given[name],
            self._images.of(given[name].image),
            self._files,
            lambda volume: self.folder / f"host-{number}" / volume,
            self.networks,
            self.folder / "logs" / f"{name}-{number}.log",
        )
        self._publish(added)
        self.containers.append(added)
        for each in self.containers:
            each.hosts.write_text(self._hosts(each))
        return added

    def remove(self, container: Container) -> None:
        """End a container at once, and know it no more."""
        self.containers.remove(container)
        container.power_off()

    def container(self, name: str) -> Container:
        """Return a container: worker-1, or worker for the first one."""
        return next(each for each in self.containers if each.name in (name, f"{name}-1"))

    def wait_until_healthy(self) -> None:
        """Wait until all but those that stay off are well, or have done what they do once."""
        wait(
            self._are_well,
            PATIENCE_SECONDS,
            lambda: self.describe([each for each in self.containers if not self._is_well(each)]),
            every=0.5,
            progress=self._count_lines,
        )

    def _are_well(self) -> bool:
        if self._error is not None:
            raise self._error
        failed = [each for each in self.containers if each.failed]
        assert not failed, self.describe(failed)
        return all(map(self._is_well, self.containers))

    def _count_lines(self) -> int:
        """Return how many different lines those that are not well have logged: a restart alone adds none."""
        logs = (each.log for each in self.containers if each.starts and not self._is_well(each))
        return sum(len(set(re.sub(rb"\d+", b"", log.read_bytes()).splitlines())) for log in logs)

    def reach(self, name: str, port: int) -> str:
        """Return where a port of a container that is not published can be reached, by tests."""
        [address, *_] = self.container(name).addresses.values()
        return f"127.0.0.1:{self.networks.forward(address, port)}"

    def kill(self, containers: list[Container]) -> None:
        """Kill containers in the same moment, and wait until they have ended; they are started again."""
        for each in containers:
            each.kill()
        for each in containers:
            each.wait_for_end()

    def describe(self, containers: list[Container]) -> str:
        """Return how containers have ended, and the ends of their logs."""
        return "\n\n".join(
            f"{each.name} ended with {each.ends}, unhealthy: {each.health.failures[-1:]}\n"
            f"{last_lines(each.log)}"
            for each in containers
        )

    def stop(self) -> dict[str, float]:
        """Ask all to stop, dependents first, as `docker compose down`; return how long each took."""
        took: dict[str, float] = {}
        while left := [each for each in self.containers if each.name not in took]:
            needed = {name for each in left for name in each.service.depends_on}
            now = [each for each in left if each.of not in needed]
            with ThreadPoolExecutor(len(now)) as threads:
                names = [each.name for each in now]
                took |= zip(names, threads.map(Container.stop, now), strict=True)
        return took

    def start_again(self) -> None:
        """Start all that stay off, those that others need first; what is done once is not repeated."""
        stopped = [
            each for each in self.containers if each.stays_off and each.service.restart != "no"
        ]

        def start_more() -> bool:
            for each in [one for one in stopped if self._may_start(one)]:
                each.start_again()
                stopped.remove(each)
            return not stopped

        wait(
            start_more,
            PATIENCE_SECONDS,
            lambda: self.describe(self.containers),
            progress=lambda: (len(stopped), self._count_lines()),
        )

    def close(self) -> None:
        """End all at once."""
        self._closing.set()
        self._engine.join()
        for each in self.containers:
            each.power_off()
        if self._has_own_networks:
            self.networks.close()

    def _run(self) -> None:
        """Start what may be started, and look after it; containers die with this thread."""
        try:
            while not self._closing.wait(EVERY_SECONDS):
                for each in list(self.containers):
                    if not each.starts and self._may_start(each):
                        each.start()
                    each.look()
        except BaseException as error:
            self._error = error
            raise

    def _may_start(self, container: Container) -> bool:
        return all(
            self._is_met(name, dependency.condition)
            for name, dependency in container.service.depends_on.items()
            if dependency.required or name in self.services
        )

    def _is_met(self, name: str, condition: str) -> bool:
        on = self.container(name)
        match condition:
            case "service_healthy":
                return on.healthy
            case "service_completed_successfully":
                return on.succeeded
        return on.running

    def _is_well(self, container: Container) -> bool:
        once = container.service.restart == "no"
        return container.succeeded if once else container.stays_off or container.healthy

    def _hosts(self, seen_by: Container) -> str:
        """Return /etc/hosts: itself first, then whom it reaches over a network, by all their names."""
        lines = ["127.0.0.1 localhost"]
        for network, address in seen_by.addresses.items():
            lines.append(" ".join([address, seen_by.hostname, *seen_by.service.aliases(network)]))
        for other in self.containers:
            shared = [name for name in seen_by.addresses if name in other.addresses]
            if shared and other is not seen_by:
                names = (other.of, other.name, other.hostname, *other.service.aliases(shared[0]))
                lines.append(" ".join([other.addresses[shared[0]], *names]))
        return "\n".join([*lines, ""])

    def _publish(self, container: Container) -> None:
        address = next(reversed(container.addresses.values()))
        for port in container.service.ports:
            if port.host_ip != address:  # a container of another host has the host's address itself
                listen = (port.host_ip, int(port.published))
                self.networks.forward(address, port.target, listen, protocol=port.protocol)


@contextlib.contextmanager
def running(checkout: Path, folder: Path, networks: Networks | None = None) -> Iterator[Deployment]:
    """Run a checkout's docker-compose.yaml; nothing is left of it afterwards.

    With the networks of another deployment, it runs on a second host that reaches the first one.
    """
    deployment = Deployment(checkout, folder, networks)
    try:
        yield deployment
    finally:
        deployment.close()
