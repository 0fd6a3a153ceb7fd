from __future__ import annotations

from pathlib import Path

import pytest

from mftasks import version
from mftasks.version import VERSION, code_version, sources_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty package in a folder that looks like a checkout."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(version, "PACKAGE", tmp_path / "package")
    return tmp_path / "package"


def test_a_checkout_is_known_by_its_commit() -> None:
    assert code_version().startswith(f"{VERSION}+")


def test_a_checkout_without_git_is_known_by_its_sources(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(package))
    assert code_version.__wrapped__().startswith(f"{VERSION}+src.")


def test_a_folder_that_git_refuses_is_known_by_its_sources(package: Path) -> None:
    assert code_version.__wrapped__().startswith(f"{VERSION}+src.")


def test_a_hash_covers_the_files_and_folders_that_are_named(package: Path) -> None:
    for name in ("one.py", "folder/two.py", "folder/deeper/three.py", "folder/notes.txt"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    take = sources_hash.__wrapped__
    before = take(), take("one.py"), take("folder")
    assert len(set(before)) == 3
    (package / "folder/notes.txt").write_text("no source")
    assert (take(), take("one.py"), take("folder")) == before
    (package / "folder/deeper/three.py").write_text("changed")
    after = take(), take("one.py"), take("folder")
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, False]


def test_a_source_that_is_named_and_missing_is_an_error(package: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sources_hash.__wrapped__("gone.py")
