"""Build the images, and run commands in them, by Buildah, which needs no engine; as root.

with buildah.storage(folder, checkout) as storage, storage.container("airflow") as container:
    container.run("airflow version")

Docker Hub is not asked. In the place of its Python stands Debian's own, of the same minor version and an
older patch version, on the Debian that its image is made of, too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests import programs

DEBIAN = "bookworm"
PACKAGES = "ca-certificates,python3-pip,python3.11,python3.11-venv"
MIRROR = "http://deb.debian.org/debian"
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE = "here"  # the tag of our python, which the Dockerfile gets as PYTHON
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
# As Docker's own images of Debian: nothing of apt is kept.
APT = 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };\n'


def why_not() -> str:
    """Return why images cannot be built here, nothing where they can."""
    return "" if os.geteuid() == 0 else "only root can build images"


class Container(NamedTuple):
    """A container that commands run in, on the network of this machine."""

    buildah: list[str]
    name: str

    def command(
        self,
        script: str,
        *volumes: str,
        variables: Mapping[str, str] | None = None,
        user: str = "",
    ) -> list[str]:
        """Return the command line that runs a script as the image's user, if no other is named.

        Volumes are given as host:container, variables go beside those of the image.
        """
        options = [word for volume in volumes for word in ("--volume", volume)]
        options += [f"--env={name}={value}" for name, value in (variables or {}).items()]
        options += ["--user", user] if user else []
        run = [*self.buildah, "run", "--isolation", "chroot", "--network", "host"]
        return [*run, *options, self.name, "--", "sh", "-c", script]

    def run(
        self,
        script: str,
        *volumes: str,
        variables: Mapping[str, str] | None = None,
        user: str = "",
    ) -> str:
        """Run a script as `command` says, and return its output; fails where it fails."""
        return _run(self.command(script, *volumes, variables=variables, user=user))

    def megabytes(self) -> int:
        """Return how large all its files are, in MiB."""
        return int(self.run("du --summarize -mx /", user="0").split()[0])


class Storage:
    """Images and containers below a folder of their own."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self._checkout = checkout
        self._built: set[str] = set()
        self._buildah = ["buildah", f"--root={folder / 'root'}", f"--runroot={folder / 'run'}"]
        self._buildah.append(f"--storage-driver={self._driver()}")
        self._make_base(folder / "debian")

    @contextlib.contextmanager
    def container(self, target: str) -> Iterator[Container]:
        """Give a fresh container of a target of the Dockerfile, which is built at first."""
        if target not in self._built:
            self._build(target)
            self._built.add(target)
        with self._from(target) as container:
            yield container

    @contextlib.contextmanager
    def base(self) -> Iterator[Container]:
        """Give a container of the image that the Dockerfile starts from."""
        with self._from(f"python:{BASE}") as container:
            yield container

    def inspect(self, target: str) -> str:
        """Return what is written down about an image: its history and its variables."""
        return self._do("inspect", "--type", "image", target)

    def close(self) -> None:
        """Remove all containers and images."""
        self._do("rm", "--all")
        self._do("rmi", "--all", "--force")

    def _driver(self) -> str:
        """Return `overlay` where that works: `vfs`, which always does, copies every layer."""
        asked = [*self._buildah, "--storage-driver=overlay", "info"]
        done = subprocess.run(asked, capture_output=True, check=False)
        return "overlay" if done.returncode == 0 else "vfs"

    def _make_base(self, folder: Path) -> None:
        _install_debian(folder)
        made = self._do("from", "scratch").strip()
        self._do("add", "--quiet", made, str(folder), "/")
        self._do("config", "--env", f"PATH={PATH}", made)
        self._do("commit", "--quiet", "--rm", made, f"python:{BASE}")
        shutil.rmtree(folder)

    def _build(self, target: str) -> None:
        how = ["--layers=false", "--isolation=chroot", "--network=host"]
        how += [f"--build-arg=PYTHON={BASE}", f"--target={target}", f"--tag={target}"]
        self._do(
            "bud", *how, "--file", str(self._checkout / "docker/Dockerfile"), str(self._checkout)
        )

    @contextlib.contextmanager
    def _from(self, image: str) -> Iterator[Container]:
        name = self._do("from", image).strip()
        try:
            yield Container(self._buildah, name)
        finally:
            self._do("rm", name)

    def _do(self, *words: str) -> str:
        return _run([*self._buildah, *words])


@contextlib.contextmanager
def storage(folder: Path, checkout: Path) -> Iterator[Storage]:
    """Give a storage that can build what a checkout says; nothing is left of it afterwards."""
    for name in programs.names("images"):
        programs.path(name, "images")
    try:
        given = Storage(folder, checkout)
        try:
            yield given
        finally:
            given.close()
    finally:
        shutil.rmtree(folder)


def _install_debian(folder: Path) -> None:
    """Install a small Debian with Python, from where this machine takes its packages."""
    include = f"--include={PACKAGES}"
    _run(["debootstrap", "--variant=minbase", include, DEBIAN, str(folder), _mirror()])
    if (ours := Path("/", CERTIFICATES)).exists():  # a proxy may have a certificate of its own
        shutil.copy2(ours, folder / CERTIFICATES)
    for name in ("python", "python3"):
        (folder / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
    (folder / "etc/apt/apt.conf.d/docker-clean").write_text(APT)
    for package in (folder / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


def _mirror() -> str:
    """Return where this machine takes Debian's packages from, or Debian's own server."""
    if shutil.which("apt-get") is None:
        return MIRROR
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    wanted = ["Created-By: Packages", f"Codename: {DEBIAN}", "Label: Debian", "Component: main"]
    return next(iter(_run([*asked, *wanted]).split()), MIRROR)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
