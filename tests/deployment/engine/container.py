"""A container without an engine: a service's own command in namespaces of its own.

It sees its image, its volumes, its secrets and its networks, and nothing else of this machine; it runs as the
service's user on a read-only file system without any capability. Its first process is Bubblewrap's init.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.deployment.engine.health import Health
from tests.deployment.engine.image import Image
from tests.deployment.engine.network import Networks
from tests.deployment.engine.sandbox import Sandbox
from tests.deployment.engine.service import Service, seconds

FIRST_PAUSE_SECONDS = 0.1  # as Docker: twice as long each time, up to a minute
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 10.0


class Container:
    """One instance of a service; `volumes` gives the folder of a volume by its name."""

    def __init__(
        self,
        name: str,
        service: Service,
        image: Image,
        files: dict[str, Path],
        volumes: Callable[[str], Path],
        networks: Networks,
        log: Path,
    ) -> None:
        self.name = name
        self.service = service
        self.log = log
        self.hostname = service.hostname or secrets.token_hex(6)
        self.addresses = {each: networks.address(each) for each in service.networks}
        self.hosts = log.with_suffix(".hosts")
        self.hosts.touch()
        self.health = Health(service.healthcheck, self.begin)
        self.starts: list[float] = []
        self.ends: list[int] = []
        self.init = 0
        self._sandbox = Sandbox(service, image, files, volumes, self.hosts, self.hostname)
        self._networks = networks
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._pause = FIRST_PAUSE_SECONDS
        self._again_at = 0.0
        self._lock = threading.Lock()

    @property
    def of(self) -> str:
        """Return the name of its service."""
        return self.name.rpartition("-")[0]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def healthy(self) -> bool:
        return self.running and self.health.healthy

    @property
    def succeeded(self) -> bool:
        """Return whether it has done what it is there for once."""
        return not self.running and self.ends[-1:] == [0]

    @property
    def failed(self) -> bool:
        """Return whether what it is there for once has failed."""
        return self.service.restart == "no" and any(self.ends)

    @property
    def stays_off(self) -> bool:
        """Return whether it was stopped, and nobody has had it started again."""
        return self._stopped

    def start(self) -> None:
        """Start it, and return once its command runs."""
        info, informed = os.pipe()
        blocked, go = os.pipe()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._sandbox.command(informed, blocked),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._sandbox.variables(),
                pass_fds=(informed, blocked),
            )
        os.close(informed)
        os.close(blocked)
        with os.fdopen(info) as file, os.fdopen(go, "w") as gate:
            self.init = json.load(file)["child-pid"]
            self._networks.plug(self.init, self.addresses)
            gate.write("go")
        self.starts.append(time.monotonic())
        self.health.restart()

    def look(self) -> None:
        """Ask for its health; start it again once it has ended, as its restart policy says."""
        with self._lock:
            if self._process is None:
                return
            if self.running:
                self.health.look()
            elif len(self.ends) < len(self.starts):
                self._handle_end(self._process.returncode)
            elif self._again_at and time.monotonic() > self._again_at:
                self.start()

    def _handle_end(self, code: int) -> None:
        self.ends.append(code)
        self.health.stop()
        self._networks.unplug(self.addresses.values())
        again = self.service.restart == "unless-stopped" and not self._stopped
        steady = time.monotonic() - self.starts[-1] > STEADY_SECONDS
        self._pause = FIRST_PAUSE_SECONDS if steady else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._again_at = time.monotonic() + self._pause if again else 0.0

    def kill(self) -> None:
        """End all its processes in the same moment, as a power failure does; it is started again."""
        if self.running:
            os.kill(self.init, signal.SIGKILL)

    def wait_for_end(self) -> None:
        """Wait until its processes have ended."""
        if self._process is not None:
            self._process.wait()

    def ask_to_stop(self) -> None:
        """Send it the signal by which it is stopped, and do not wait; it stays off then."""
        self._stopped, self._again_at = True, 0.0
        if self.running:
            self.main().send_signal(signal.Signals[self.service.stop_signal])

    def stop(self) -> float:
        """Ask it to stop, and return how long that took; kill it when its time is over."""
        began = time.monotonic()
        self.ask_to_stop()
        if self.running:
            assert self._process is not None
            try:
                self._process.wait(seconds(self.service.stop_grace_period))
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()
        return time.monotonic() - began

    def start_again(self) -> None:
        """Have it started after it was stopped."""
        self._stopped, self._again_at = False, time.monotonic()

    def power_off(self) -> None:
        """End all its processes in the same moment, and let it stay off."""
        self._stopped, self._again_at = True, 0.0
        with self._lock:
            self.health.stop()
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def begin(self, command: list[str]) -> subprocess.Popen[str]:
        """Begin a command inside, as its user, with its variables."""
        pid = str(self.init)
        # The root, too: that of the mounts is another one if the tests themselves run in a chroot.
        enter = ["nsenter", "--target", pid, "--root", "--wd"]
        enter += ["--mount", "--uts", "--ipc", "--net", "--pid"]
        inside = f'cd {self.service.working_dir} && exec "$@"'
        return subprocess.Popen(
            [*enter, "--", *self._sandbox.drop_rights(), "sh", "-c", inside, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._sandbox.variables(),
            start_new_session=True,
        )

    def run(self, *command: str, within: float = 60) -> tuple[int, str]:
        """Run a command inside; return its exit code and its output."""
        with self.begin(list(command)) as process:
            output, _ = process.communicate(timeout=within)
        return process.returncode, output

    def volume(self, name: str) -> Path:
        """Return the folder of one of its volumes."""
        return self._sandbox.volume(name)

    def main(self) -> psutil.Process:
        """Return the process of its own command."""
        return min(psutil.Process(self.init).children(), key=psutil.Process.create_time)

    def processes(self) -> list[psutil.Process]:
        """Return all its processes but its init, none while it is off."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.running:
                return psutil.Process(self.init).children(recursive=True)
        return []
