from __future__ import annotations

import io
import random
import stat
import zipfile
from pathlib import Path

import pytest

from mftasks.data.fetching import archives
from mftasks.errors import ChecksumMismatch, InvalidDataset
from tests.movielens import zip_of

DATA = b"".join(b"%d::%d::%d::99\n" % (row, row * 7 % 13, row % 5) for row in range(500))


def extract(tmp_path: Path, data: bytes, *members: str) -> list[Path]:
    (tmp_path / "some.zip").write_bytes(data)
    folder = tmp_path / "into"
    folder.mkdir(exist_ok=True)
    return archives.extract(tmp_path / "some.zip", members, folder)


def test_only_the_members_that_are_asked_for_are_written(tmp_path: Path):
    data = zip_of({"ml/a.dat": DATA, "ml/b.dat": b"b", "ml/genome.csv": b"large"})
    paths = extract(tmp_path, data, "ml/b.dat", "ml/a.dat")
    assert [path.read_bytes() for path in paths] == [b"b", DATA]
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == ["a.dat", "b.dat"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "C:\\evil", "ml\\..\\..\\evil"])
def test_a_name_outside_the_folder_has_no_effect(tmp_path: Path, name: str):
    (path,) = extract(tmp_path, zip_of({"ml/a.dat": DATA, name: b"evil"}), "ml/a.dat")
    assert path.read_bytes() == DATA
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "into", path, tmp_path / "some.zip"]


def test_a_link_is_written_as_a_file(tmp_path: Path):
    link = zipfile.ZipInfo("ml/a.dat")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    (path,) = extract(tmp_path, buffer.getvalue(), "ml/a.dat")
    assert not path.is_symlink()
    assert path.read_text() == "/etc/passwd"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path):
    with pytest.raises(InvalidDataset, match="50,000,000 bytes; at most"):
        extract(tmp_path, zip_of({"ml/a.dat": bytes(50_000_000)}), "ml/a.dat")
    assert not any((tmp_path / "into").iterdir())


def test_a_member_larger_than_the_bound_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with pytest.raises(InvalidDataset, match="at most 1,000 are allowed"):
        extract(tmp_path, zip_of({"ml/a.dat": DATA}), "ml/a.dat")


def test_an_archive_that_lies_about_its_size_does_not_unpack_more(tmp_path: Path):
    data = zip_of({"ml/a.dat": DATA})
    size, lie = len(DATA).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert data.count(size) == 2
    with pytest.raises(ChecksumMismatch, match="damaged"):
        extract(tmp_path, data.replace(size, lie), "ml/a.dat")
    assert (tmp_path / "into" / "a.dat").stat().st_size <= 10


def test_a_missing_member_is_named_with_what_is_there(tmp_path: Path):
    with pytest.raises(InvalidDataset, match=r"has no ml/a\.dat; it holds 'ml/b\.dat'"):
        extract(tmp_path, zip_of({"ml/b.dat": b"b"}), "ml/a.dat")


@pytest.mark.parametrize("data", [b"", b"<html>Not found</html>"])
def test_what_is_no_zip_is_damaged(tmp_path: Path, data: bytes):
    with pytest.raises(ChecksumMismatch, match=r"some\.zip is damaged"):
        extract(tmp_path, data, "ml/a.dat")


def test_a_zip_with_flipped_bytes_gives_the_very_data_or_an_error(tmp_path: Path):
    whole = zip_of({"ml/a.dat": DATA, "ml/b.dat": DATA[:70]})
    refused = 0
    for seed in range(300):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assert extract(tmp_path, bytes(data), "ml/a.dat")[0].read_bytes() == DATA
        except (ChecksumMismatch, InvalidDataset):
            refused += 1
    assert refused > 100
