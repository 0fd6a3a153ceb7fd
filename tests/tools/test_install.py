from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a checkout whose requirements are none, and a uv that installs nothing."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "bin").mkdir()
    script(tmp_path, "uv", "env >uv.environment")
    return tmp_path


def script(checkout: Path, name: str, text: str) -> None:
    """Put a program of the shell before all others."""
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def install(checkout: Path, want: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(checkout / "bin"), os.environ["PATH"]])
    return subprocess.run(
        ["tools/install", want],
        cwd=checkout,
        env={"PATH": path, "HOME": os.environ["HOME"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def need(checkout: Path) -> None:
    """Let the tests need one program twice, which the package `missing-package` brings."""
    (checkout / "tools/debian-packages").write_text(
        "test missing-program missing-package why\n" * 2
    )
    brings = f"touch {checkout}/bin/missing-program; chmod +x {checkout}/bin/missing-program"
    script(
        checkout, "apt-get", f'echo "$@" >>apt-get.log; case "$*" in *install*) {brings} ;; esac'
    )


def test_an_unsupported_python_is_refused_in_one_sentence(checkout: Path) -> None:
    script(checkout, "old", "[ $1 = --version ] && echo Python 3.10.13 && exit\necho 3.10")
    refused = install(checkout, "run", PYTHON=str(checkout / "bin/old"))
    assert refused.returncode == 1
    (sentence,) = refused.stderr.splitlines()
    assert "Python 3.11 or 3.12 (found: Python 3.10.13)" in sentence
    assert "numpy" in sentence
    assert not (checkout / ".venv").exists()


def test_requirements_are_installed_once_and_again_if_they_change(checkout: Path) -> None:
    first = install(checkout, "run", PYTHON=sys.executable)
    assert (first.returncode, first.stdout.count("installing")) == (0, 1), first.stderr
    assert (checkout / ".venv/bin/python").exists()
    assert install(checkout, "run").stdout == ""
    assert "installing requirements-dev.txt" in install(checkout, "dev").stdout
    assert install(checkout, "run").stdout == ""
    (checkout / "requirements.txt").write_text("# changed\n")
    assert install(checkout, "run").stdout == "installing requirements.txt into .venv\n"


def test_an_environment_whose_installation_was_killed_is_made_again(checkout: Path) -> None:
    script(checkout, "uv", "kill -9 $(cat install.pid)")
    killed = subprocess.Popen(
        ["sh", "-c", "echo $$ >install.pid; exec tools/install run"],
        cwd=checkout,
        env={"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "PYTHON": sys.executable},
        stdout=subprocess.DEVNULL,
    )
    assert killed.wait() == -9
    half = checkout / ".venv" / "half"
    half.touch()
    script(checkout, "uv", "true")
    again = install(checkout, "run", PYTHON=sys.executable)
    assert (again.returncode, half.exists()) == (0, False), again.stderr


def test_pip_installs_if_uv_cannot_and_the_reason_is_shown(checkout: Path) -> None:
    script(checkout, "uv", "echo no such index >&2; exit 2")
    done = install(checkout, "run", PYTHON=sys.executable)
    assert (done.returncode, done.stderr) == (0, "no such index\n")
    assert "pip installs" in done.stdout


def test_uv_uses_the_indexes_and_certificates_of_pips_settings(checkout: Path) -> None:
    settings = {
        "index-url": "https://first.example/simple",
        "extra-index-url": "https://second.example/simple\n  https://third.example/simple",
        "find-links": "/wheels /more-wheels",
        "trusted-host": "first.example",
        "cert": "/etc/certificate.pem",
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (checkout / "pip.conf").write_text("\n".join(["[global]", *lines]))
    done = install(checkout, "run", PYTHON=sys.executable, PIP_CONFIG_FILE=str(checkout / "pip.conf"),
                   PIP_INDEX_URL="https://wins.example/simple")  # fmt: skip
    assert done.returncode == 0, done.stderr
    used = dict(
        line.partition("=")[::2] for line in (checkout / "uv.environment").read_text().splitlines()
    )
    assert used["UV_DEFAULT_INDEX"] == "https://wins.example/simple"
    assert used["UV_INDEX"].split() == [
        "https://second.example/simple",
        "https://third.example/simple",
    ]
    assert used["UV_FIND_LINKS"] == "/wheels,/more-wheels"
    assert used["UV_INSECURE_HOST"] == "first.example"
    assert used["SSL_CERT_FILE"] == "/etc/certificate.pem"


def test_what_uv_installs_is_compiled_even_if_python_is_asked_to_write_nothing(
    checkout: Path,
) -> None:
    script(checkout, "uv", 'echo "$@" >uv.arguments; env >uv.environment')
    done = install(checkout, "run", PYTHON=sys.executable, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr
    assert "--compile-bytecode" in (checkout / "uv.arguments").read_text().split()
    assert "PYTHONDONTWRITEBYTECODE" not in (checkout / "uv.environment").read_text()


def test_make_lets_python_keep_what_it_compiled() -> None:
    made = subprocess.run(
        ["make", "--silent", "run", "CONF=", "STACK=env;"],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CONF=" in made.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in made.stdout


def test_a_missing_package_stops_who_is_not_root_before_anything_with_the_command(
    checkout: Path,
) -> None:
    need(checkout)
    script(checkout, "id", "echo 1000")
    script(checkout, "sudo", "exit 1")
    stopped = install(checkout, "test")
    assert (stopped.returncode, stopped.stdout) == (1, "")
    (sentence,) = stopped.stderr.splitlines()
    assert sentence.endswith("sudo apt-get install --no-install-recommends missing-package")
    assert "tools/debian-packages" in sentence
    assert not (checkout / ".venv").exists()
    assert not (checkout / "apt-get.log").exists()


@pytest.mark.parametrize("user", ["0", "1000"])
def test_missing_packages_are_installed_once_by_root_or_sudo(checkout: Path, user: str) -> None:
    need(checkout)
    script(checkout, "id", f"echo {user}")
    script(checkout, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    done = subprocess.run(
        ["tools/debian", "test"],
        cwd=checkout,
        env={"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "missing-package: needed for 'test'" in line
    asked = (checkout / "apt-get.log").read_text()
    assert "missing-package" in asked
    install(checkout, "test", PYTHON="none")
    assert (checkout / "apt-get.log").read_text() == asked


def test_a_library_that_a_run_needs_is_looked_for_where_programs_find_it(checkout: Path) -> None:
    need(checkout)
    lines = ("run libc.so.6 libc6 why", "run libmissing.so.6 missing-library why")
    (checkout / "tools/debian-packages").write_text("\n".join(lines) + "\n")
    install(checkout, "run", PYTHON=sys.executable)
    [_, asked] = (checkout / "apt-get.log").read_text().splitlines()
    assert asked.endswith("--no-install-recommends missing-library")


def test_the_images_have_the_libraries_that_a_run_needs() -> None:
    packages = {line[2] for line in programs.lines("run")}
    [asked] = re.findall("--no-install-recommends (.*) ", (ROOT / "docker/Dockerfile").read_text())
    assert packages == set(asked.split())


def test_the_readme_names_the_list_of_debian_packages() -> None:
    assert "`tools/debian-packages`" in (ROOT / "README.md").read_text()


def test_a_failed_command_shows_all_that_it_wrote_but_what_pip_says_of_the_machine() -> None:
    script = "echo first; echo \"WARNING: Location '/x' is ignored: it is missing\" >&2; exit 7"
    done = subprocess.run(
        [ROOT / "tools/progress", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "first\n")


def test_a_long_command_reports_progress() -> None:
    asked = [ROOT / "tools/progress", "sh", "-c", "echo fetching numpy; sleep 4"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == "  3 s: fetching numpy\n"


def test_a_test_whose_program_is_missing_fails_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = tmp_path / "debian-packages"
    packages.write_text("test missing-program missing-package why\n")
    monkeypatch.setattr(programs, "PACKAGES", packages)
    with pytest.raises(AssertionError, match="tools/debian test"):
        programs.path("missing-program")


def test_the_first_uv_is_the_one_that_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        assert len([line for line in lines if line.startswith("uv==")]) == 1
