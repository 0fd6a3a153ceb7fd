"""Install pip into a virtual environment whose Python came without it, from the package index.

python tools/fetch_pip.py requirements.txt .venv

The version is the one that the requirements pin. The index is the one that pip is configured for:
PIP_INDEX_URL, else pip.conf, else PyPI.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

PYPI = "https://pypi.org/simple"
JSON = "application/vnd.pypi.simple.v1+json"
CONFIGURATIONS = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


def main(requirements: Path, venv: Path) -> None:
    """Fetch the wheel of pip, which can install itself."""
    version = re.search(r"^pip==([\w.]+)", requirements.read_text(), re.MULTILINE)
    if version is None:
        raise SystemExit(f"error: {requirements} does not pin pip")
    name = f"pip-{version[1]}-py3-none-any.whl"
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / name
        wheel.write_bytes(fetched(name))
        command = [str(venv / "bin/python"), f"{wheel}/pip", "install", "--quiet", str(wheel)]
        subprocess.run([*command, "--no-index", "--disable-pip-version-check"], check=True)


def fetched(name: str) -> bytes:
    """Return the verified bytes of a file of the project pip."""
    page = f"{index()}/pip/"
    for url, sha256 in links(page):
        if urllib.parse.urlsplit(url).path.endswith(f"/{name}"):
            data, _ = get(url)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise SystemExit(f"error: {name} does not have the sha256 that the index promises")
            return data
    raise SystemExit(f"error: the package index has no {name}; install python3-venv instead")


def index() -> str:
    """Return the address of the package index that pip is configured for."""
    configured = configparser.ConfigParser(interpolation=None)
    configured.read(Path(path).expanduser() for path in CONFIGURATIONS)
    found = configured.get("global", "index-url", fallback=PYPI)
    return os.environ.get("PIP_INDEX_URL", found).rstrip("/")


def links(page: str) -> list[tuple[str, str]]:
    """Return the address and the sha256 of each file of a project."""
    data, kind = get(page)
    if "json" in kind:
        files = json.loads(data)["files"]
        return [(urllib.parse.urljoin(page, one["url"]), one["hashes"]["sha256"]) for one in files]
    pairs = re.findall(r'href="([^"#]+)#sha256=([0-9a-f]{64})"', data.decode())
    return [(urllib.parse.urljoin(page, link), sha256) for link, sha256 in pairs]


def get(url: str) -> tuple[bytes, str]:
    """Return what a server answers, and its content type."""
    request = urllib.request.Request(url, headers={"Accept": f"{JSON}, text/html;q=0.5"})
    trusted = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    with urllib.request.urlopen(request, timeout=60, context=trusted) as answer:
        return answer.read(), answer.headers.get("Content-Type", "")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
