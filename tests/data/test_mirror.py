from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mftasks.data import catalog, sources
from mftasks.errors import ChecksumMismatch, SourceUnavailable
from tests import movielens
from tests.data.fetching import fetch
from tests.web import Web


@pytest.fixture
def no_index(monkeypatch, tmp_path: Path) -> Path:
    """Let pip look into one folder only, and return it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def list_100k_sources(base: str, rows: list[movielens.Row]) -> dict[str, sources.Source]:
    """Return the sources of an ml-100k that has these few rows."""
    sha256 = hashlib.sha256(movielens.ratings("tab", rows)).hexdigest()
    known = catalog.find("ml-100k")._replace(archive_md5=None, ratings_sha256=sha256)
    return sources.list_sources(known, base)


def test_the_mirror_serves_ml_100k_if_the_first_source_does_not(
    site: Web, tmp_path: Path, no_index: Path
):
    movielens.wheel(no_index, movielens.ROWS)
    served = fetch(list_100k_sources(site.base, movielens.ROWS), tmp_path)
    assert served.source == "pip:recbole==1.2.1"
    assert served.ratings.name == "u.data"
    assert served.ratings.read_bytes() == movielens.ratings("tab", movielens.ROWS)
    assert site.asked == ["/ml-100k.zip"]


def test_a_mirror_with_other_ratings_is_refused(site: Web, tmp_path: Path, no_index: Path):
    movielens.wheel(no_index, movielens.ROWS[1:])
    with pytest.raises(ChecksumMismatch, match=r"the ratings of pip:recbole==1\.2\.1 has sha256"):
        fetch(list_100k_sources(site.base, movielens.ROWS), tmp_path)


def test_every_dead_source_is_listed_with_its_reason(
    site: Web, tmp_path: Path, no_index: Path, monkeypatch
):
    monkeypatch.setattr(sources, "PASSES", 1)
    movielens.wheel(no_index, movielens.ROWS, version="1.0.0")
    with pytest.raises(SourceUnavailable) as caught:
        fetch(list_100k_sources(site.base, movielens.ROWS), tmp_path)
    text = str(caught.value)
    assert f"{site.base}/ml-100k.zip: HTTP 404" in text
    assert "pip:recbole==1.2.1: pip download recbole==1.2.1: ERROR: No matching" in text


def test_only_ml_100k_has_a_mirror():
    mirrored = [
        name
        for name, dataset in catalog.DATASETS.items()
        if len(sources.list_sources(dataset, "https://example.org")) > 1
    ]
    assert mirrored == ["ml-100k"]
