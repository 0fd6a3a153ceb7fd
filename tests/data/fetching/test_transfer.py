from __future__ import annotations

import os
from pathlib import Path

import pytest

from mftasks import progress
from mftasks.data.fetching import transfer
from mftasks.data.fetching.reach import Reach, Refused
from mftasks.data.uris import hide_password
from mftasks.progress import Tick
from tests.web import Answer, Web


def test_progress_is_reported_in_bytes(site: Web, tmp_path: Path):
    ticks: list[Tick] = []
    transfer.fetch(site.serve("/a", Answer(bytes(3_000_000))), tmp_path / "a", ticks.append)
    assert ticks[-1] == Tick(work="download", done=3_000_000, total=3_000_000, unit="bytes")
    assert (tmp_path / "a").stat().st_size == 3_000_000


def copy(uri: str, tmp_path: Path, roots: str = "") -> bytes:
    transfer.copy(uri, tmp_path / "copied", progress.silent, Reach(roots))
    return (tmp_path / "copied").read_bytes()


@pytest.mark.parametrize("name", ["a#1.csv", "a?b.csv", "a%20b.csv", "a b.csv", "ä.csv"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"here")
    assert copy((tmp_path / name).as_uri(), tmp_path) == b"here"
    if "%" not in name:
        assert copy(f"file://{tmp_path}/{name}", tmp_path) == b"here"


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(Refused, match=r"no regular file|Is a directory"):
            copy((tmp_path / f"{name}.csv").as_uri(), tmp_path)


def test_the_file_of_another_host_is_not_this_host_s(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"here")
    with pytest.raises(Refused, match="file of the host 'elsewhere'"):
        copy(f"file://elsewhere{tmp_path}/a.csv", tmp_path)
    assert copy(f"file://localhost{tmp_path}/a.csv", tmp_path) == b"here"


def test_files_outside_the_folders_for_data_are_refused_links_followed(tmp_path: Path):
    for folder in ("shared", "private"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_bytes(b"here")
    (tmp_path / "shared" / "link.csv").symlink_to(tmp_path / "private" / "a.csv")
    roots = f"/srv/data:{tmp_path}/shared"
    assert copy(f"file://{tmp_path}/shared/a.csv", tmp_path, roots) == b"here"
    for name in ("shared/link.csv", "private/a.csv", "shared/../private/a.csv"):
        with pytest.raises(Refused, match="outside the folders of MF_DATA_ROOTS, /srv"):
            copy(f"file://{tmp_path}/{name}", tmp_path, roots)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:pass@mirror:80/zips", "http://mirror:80/zips"),
        ("http://user:pa#ss@mirror/", "http://mirror/"),
        ("http://user:p/2?3@mirror/", "http://mirror/"),
        ("https://user@mirror/zips", "https://mirror/zips"),
        ("http://mirror:8080/a@b/ml.zip", "http://mirror:8080/a@b/ml.zip"),
        ("http://mirror/a:b@c", "http://mirror/a:b@c"),
        ("file:///home/me@work/ratings.csv", "file:///home/me@work/ratings.csv"),
        ("s3://bucket/a:b@c.csv", "s3://bucket/a:b@c.csv"),
    ],
)
def test_a_password_is_hidden_however_it_is_spelt(uri: str, shown: str) -> None:
    assert hide_password(uri) == shown
