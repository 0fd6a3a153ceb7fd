"""What a container sees: the command line by which Bubblewrap runs a service in namespaces of its own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.deployment.engine.image import Image
from tests.deployment.engine.service import Service

ASIDE = "/aside"
LINKS = ("bin", "lib", "lib64", "sbin")
TMPFS = "nosuid,nodev,noexec,mode=1777"
DROPPED = ("--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


@dataclass(frozen=True)
class Sandbox:
    """The file system, the variables and the user of a container of a service."""

    service: Service
    image: Image
    files: dict[str, Path]
    volumes: Callable[[str], Path]
    hosts: Path
    hostname: str

    def drop_rights(self) -> list[str]:
        """Return what is put before a command so that it runs as the service's user without capabilities."""
        user, _, group = self.service.user.partition(":")
        return ["setpriv", f"--reuid={user}", f"--regid={group}", *DROPPED, "--"]

    def variables(self) -> dict[str, str]:
        """Return its environment."""
        about = {"HOSTNAME": self.hostname, "HOME": self.image.home(self.service.user)}
        return about | self.image.variables | self.service.environment

    def command(self, informed: int, blocked: int) -> list[str]:
        """Return the command line; what needs root comes first, and then its own command."""
        tmpfs, mounts = self._tmpfs(), self._mounts()
        made = [f"mount -t tmpfs -o {options} tmpfs {at}" for at, options in tmpfs.items()]
        # What would be hidden, such as an environment of Python below /tmp, is laid aside until then.
        hidden = [at for _, _, at in mounts if any(Path(one) in Path(at).parents for one in tmpfs)]
        aside = {at: f"{ASIDE}/{n}" for n, at in enumerate(hidden)}
        mounts = [(how, path, aside.get(at, at)) for how, path, at in mounts]
        made += [f"mkdir -p {at} && mount --bind {now} {at}" for at, now in aside.items()]
        prepare = " && ".join([*made, f'exec {shlex.join(self.drop_rights())} "$@"'])
        entrypoint = self.service.entrypoint or self.image.entrypoint
        folders = ["/run", "/var", *tmpfs, *(str(Path(at).parent) for _, _, at in mounts)]
        return [
            *("bwrap", "--die-with-parent", "--new-session", "--cap-add", "ALL"),
            *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
            *("--hostname", self.hostname, "--info-fd", str(informed), "--block-fd", str(blocked)),
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
        read = self.image.files | {"/etc/hosts": self.hosts}
        read |= {secret.target: self.files[secret.source] for secret in self.service.secrets}
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
        folder = self.volumes(name)
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, *map(int, self.service.user.split(":")))
        return folder


def _folders(wanted: list[str]) -> list[str]:
    """Return how folders and their parents are made: what Bubblewrap makes unasked, others cannot enter."""
    every = {str(each) for name in wanted for each in (Path(name), *Path(name).parents)}
    return [word for name in sorted(every - {"/"}) for word in ("--dir", name)]
