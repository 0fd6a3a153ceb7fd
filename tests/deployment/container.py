"""A container without an engine: a service's own command in namespaces of its own.

It sees its image, its volumes, its secrets and its networks, and nothing else of this machine; it runs as the
service's user on a read-only file system without any capability. Its first process is Bubblewrap's init.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.deployment.health import Health
from tests.deployment.image import Image
from tests.deployment.network import Networks
from tests.deployment.service import Service, seconds

FIRST_PAUSE_SECONDS = 0.1  # as Docker: twice as long each time, up to a minute
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 10.0
ASIDE = "/aside"
LINKS = ("bin", "lib", "lib64", "sbin")
TMPFS = "nosuid,nodev,noexec,mode=1777"
DROPPED = ("--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


class Container:
    """Hold one instance of a service; `volumes` gives the folder of a volume by its name."""

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
        self.hostname = secrets.token_hex(6)
        self.addresses = {each: networks.address(each) for each in service.networks}
        self.hosts = log.with_suffix(".hosts")
        self.hosts.touch()
        self.health = Health(service.healthcheck, self.begin)
        self.starts: list[float] = []
        self.ends: list[int] = []
        self.init = 0
        self._image = image
        self._files = files
        self._volumes = volumes
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
    def succeeded(self) -> bool:
        """Say whether it has done what it is there for once."""
        return not self.running and self.ends[-1:] == [0]

    @property
    def failed(self) -> bool:
        """Say whether what it is there for once has failed."""
        return self.service.restart == "no" and any(self.ends)

    @property
    def stays_off(self) -> bool:
        """Say whether it was stopped, and nobody has had it started again."""
        return self._stopped

    def start(self) -> None:
        """Start it, and return once its command runs."""
        info, told = os.pipe()
        blocked, go = os.pipe()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(told, blocked),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._variables(),
                pass_fds=(told, blocked),
            )
        os.close(told)
        os.close(blocked)
        with os.fdopen(info) as file, os.fdopen(go, "w") as gate:
            self.init = json.load(file)["child-pid"]
            self._networks.plug(self.init, self.addresses)
            gate.write("go")
        self.starts.append(time.monotonic())
        self.health.restart()

    def look(self) -> None:
        """Ask for its health; start it again where it has ended, as its restart policy says."""
        with self._lock:
            if self._process is None:
                return
            if self.running:
                self.health.look()
            elif len(self.ends) < len(self.starts):
                self._ended(self._process.returncode)
            elif self._again_at and time.monotonic() > self._again_at:
                self.start()

    def _ended(self, code: int) -> None:
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
        enter = ["nsenter", "--target", pid, "--mount", "--uts", "--ipc", "--net", "--pid"]
        inside = f'cd {self.service.working_dir} && exec "$@"'
        return subprocess.Popen(
            [*enter, "--", *self._as_user(), "sh", "-c", inside, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._variables(),
            start_new_session=True,
        )

    def run(self, *command: str, within: float = 60) -> tuple[int, str]:
        """Run a command inside; return its exit code, and what it said."""
        with self.begin(list(command)) as process:
            said, _ = process.communicate(timeout=within)
        return process.returncode, said

    def main(self) -> psutil.Process:
        """Return the process of its own command."""
        return min(psutil.Process(self.init).children(), key=psutil.Process.create_time)

    def processes(self) -> list[psutil.Process]:
        """Return all its processes but its init, none while it is off."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.running:
                return psutil.Process(self.init).children(recursive=True)
        return []

    def _as_user(self) -> list[str]:
        user, _, group = self.service.user.partition(":")
        return ["setpriv", f"--reuid={user}", f"--regid={group}", *DROPPED, "--"]

    def _variables(self) -> dict[str, str]:
        about = {"HOSTNAME": self.hostname, "HOME": self._image.home(self.service.user)}
        return about | self._image.variables | self.service.environment

    def _command(self, told: int, blocked: int) -> list[str]:
        """Return the command line; what needs root comes first, and then its own command."""
        tmpfs, mounts = self._tmpfs(), self._mounts()
        made = [f"mount -t tmpfs -o {options} tmpfs {at}" for at, options in tmpfs.items()]
        # What would be hidden, such as an environment of Python below /tmp, is laid aside until then.
        hidden = [at for _, _, at in mounts if any(Path(one) in Path(at).parents for one in tmpfs)]
        aside = {at: f"{ASIDE}/{n}" for n, at in enumerate(hidden)}
        mounts = [(how, path, aside.get(at, at)) for how, path, at in mounts]
        made += [f"mkdir -p {at} && mount --bind {now} {at}" for at, now in aside.items()]
        prepare = " && ".join([*made, f'exec {shlex.join(self._as_user())} "$@"'])
        entrypoint = self.service.entrypoint or self._image.entrypoint
        folders = ["/run", "/var", *tmpfs, *(str(Path(at).parent) for _, _, at in mounts)]
        return [
            *("bwrap", "--die-with-parent", "--new-session", "--cap-add", "ALL"),
            *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
            *("--hostname", self.hostname, "--info-fd", str(told), "--block-fd", str(blocked)),
            *_folders(folders),
            *("--proc", "/proc", "--dev", "/dev", "--symlink", "../run", "/var/run"),
            *(word for name in LINKS for word in ("--symlink", f"usr/{name}", f"/{name}")),
            *(word for mount in mounts for word in mount),
            *("--remount-ro", "/", "--chdir", self.service.working_dir),
            *("--", "sh", "-c", prepare, "sh", *entrypoint, *(self.service.command or [])),
        ]

    def _tmpfs(self) -> dict[str, str]:
        """Return the options of each memory file system, which are the same as Docker's."""
        given = [*self.service.tmpfs, f"/dev/shm:size={self.service.shm_size}"]
        parts = (each.replace("/var/run/", "/run/").partition(":") for each in given)
        return {target: f"{TMPFS},{options}".rstrip(",") for target, _, options in parts}

    def _mounts(self) -> list[tuple[str, str, str]]:
        """Return how, what, and where; what lies in another one comes after it."""
        read = self._image.files | {"/etc/hosts": self.hosts}
        read |= {secret.target: self._files[secret.source] for secret in self.service.secrets}
        written: dict[str, Path] = {}
        for mount in self.service.volumes:
            if mount.type == "volume":
                written[mount.target] = self.volume(mount.source)
            else:
                (read if mount.read_only else written)[mount.target] = Path(mount.source)
        every = [("--ro-bind", str(path), at) for at, path in read.items()]
        every += [("--bind", str(path), at) for at, path in written.items()]
        return sorted(every, key=lambda mount: mount[2])

    def volume(self, name: str) -> Path:
        """Return the folder of a volume, which belongs to the user as in the images."""
        folder = self._volumes(name)
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, *map(int, self.service.user.split(":")))
        return folder


def _folders(wanted: list[str]) -> list[str]:
    """Return how folders and their parents are made: what Bubblewrap makes unasked, others cannot enter."""
    every = {str(each) for name in wanted for each in (Path(name), *Path(name).parents)}
    return [word for name in sorted(every - {"/"}) for word in ("--dir", name)]
