from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import socket
import threading
from pathlib import Path

import pytest

from mftasks import progress
from mftasks.data import catalog
from mftasks.data.fetching import sources
from mftasks.errors import ChecksumMismatch, SourceUnavailable
from tests import movielens
from tests.web import Answer, Web


def fetch(found: dict[str, sources.Source], tmp_path: Path) -> sources.Served:
    folder = tmp_path / "into"
    folder.mkdir()
    return sources.fetch_first(found, folder, progress.silent)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def list_latest_sources(site: Web, *answers: Answer) -> dict[str, sources.Source]:
    site.serve("/ml-latest-small.zip", *answers)
    return sources.list_sources(catalog.find("ml-latest-small"), site.base)


ZIP = movielens.archive(catalog.find("ml-latest-small"), movielens.ROWS)


WHOLE = Answer(ZIP)
ONE_KEY = "/ml-latest-small.zip"


def test_a_zip_is_fetched_over_http_and_unpacked(site: Web, tmp_path: Path):
    served = fetch(list_latest_sources(site, WHOLE), tmp_path)
    assert served.source == site.base + ONE_KEY
    assert served.ratings.read_bytes() == movielens.ratings("csv", movielens.ROWS)
    assert sorted(path.name for path in served.ratings.parent.iterdir()) == [
        "movies.csv",
        "ratings.csv",
    ]


def test_a_zip_is_fetched_from_a_folder(tmp_path: Path):
    (tmp_path / "my zips").mkdir()
    (tmp_path / "my zips" / "ml-latest-small.zip").write_bytes(ZIP)
    base = (tmp_path / "my zips").as_uri() + "/"
    served = fetch(sources.list_sources(catalog.find("ml-latest-small"), base), tmp_path)
    assert served.source == f"{base}ml-latest-small.zip"


def test_a_redirect_is_followed(site: Web, tmp_path: Path):
    site.serve("/elsewhere.zip", WHOLE)
    moved = Answer(status=302, location="/elsewhere.zip")
    assert fetch(list_latest_sources(site, moved), tmp_path).ratings.exists()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(site: Web, tmp_path: Path, status: int):
    served = fetch(
        list_latest_sources(site, Answer(status=status), Answer(status=status), WHOLE), tmp_path
    )
    assert served.ratings.exists()
    assert len(site.asked) == 3


def test_a_server_that_stays_in_trouble_is_given_up(site: Web, tmp_path: Path):
    with pytest.raises(SourceUnavailable, match=r"small\.zip: HTTP 500 Internal Server Error"):
        fetch(list_latest_sources(site, Answer(status=500)), tmp_path)
    assert len(site.asked) == sources.PASSES


def test_a_server_without_the_file_is_asked_once(site: Web, tmp_path: Path):
    with pytest.raises(SourceUnavailable, match="HTTP 404"):
        fetch(list_latest_sources(site, Answer(status=404)), tmp_path)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "bad",
    [
        Answer(ZIP[:300], announced=len(ZIP)),
        Answer(ZIP[:300]),
        Answer(ZIP[:100] + bytes(20) + ZIP[120:]),
        Answer(b"<html>Please log in</html>"),
    ],
    ids=["cut off", "truncated", "altered", "not a zip"],
)
def test_a_bad_file_is_fetched_afresh_once_and_then_refused(site: Web, tmp_path: Path, bad: Answer):
    served = fetch(list_latest_sources(site, bad, WHOLE), tmp_path)
    assert served.ratings.read_bytes() == movielens.ratings("csv", movielens.ROWS)
    assert len(site.asked) == 2
    with pytest.raises(ChecksumMismatch):
        sources.fetch_first(list_latest_sources(site, bad), tmp_path / "into", progress.silent)
    assert len(site.asked) == 4


def test_a_zip_with_another_md5_than_the_published_one_is_refused(site: Web, tmp_path: Path):
    known = catalog.find("ml-latest-small")._replace(archive_md5="0" * 32)
    site.serve(ONE_KEY, WHOLE)
    with pytest.raises(ChecksumMismatch, match=f"has md5 {md5(ZIP)}, but 0{{32}} was expected"):
        fetch(sources.list_sources(known, site.base), tmp_path)
    assert len(site.asked) == 2


def test_a_dead_server_is_a_reason(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(SourceUnavailable, match="Connection refused"):
            fetch(sources.list_sources(catalog.find("ml-latest"), base), tmp_path)


def test_a_server_that_hangs_up_is_asked_again(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = []

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # of accept, once the server is shut down
                while True:
                    connection, _ = server.accept()
                    asked.append(1)  # before the client can know
                    connection.close()

        hanging_up = threading.Thread(target=hang_up, daemon=True)
        hanging_up.start()
        base = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SourceUnavailable):
            fetch(sources.list_sources(catalog.find("ml-latest"), base), tmp_path)
        server.shutdown(socket.SHUT_RDWR)
        hanging_up.join()
        assert len(asked) == sources.PASSES


@pytest.mark.parametrize("base", ["ftp://example.org", "example.org/movielens", "http://"])
def test_an_address_that_cannot_be_is_refused_at_once(tmp_path: Path, base: str, monkeypatch):
    monkeypatch.setattr(sources, "FIRST_WAIT_SECONDS", 100)
    with pytest.raises(SourceUnavailable, match="http, https or file"):
        fetch(sources.list_sources(catalog.find("ml-latest"), base), tmp_path)


def test_a_folder_without_the_zip_is_a_reason(tmp_path: Path):
    with pytest.raises(SourceUnavailable, match=r"No such file or directory: .*ml-latest\.zip"):
        fetch(sources.list_sources(catalog.find("ml-latest"), tmp_path.as_uri()), tmp_path)


def test_a_password_of_a_mirror_is_used_and_never_shown(
    site: Web, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    site.serve("/ml-latest.zip", Answer(status=404))
    secret = site.base.replace("http://", "http://reader:p%40ss@")
    with pytest.raises(SourceUnavailable) as caught:
        fetch(sources.list_sources(catalog.find("ml-latest"), secret), tmp_path)
    assert site.authorizations == ["Basic " + base64.b64encode(b"reader:p@ss").decode()]
    seen = str(caught.value) + caplog.text
    assert f"{site.base}/ml-latest.zip: HTTP 404" in seen
    assert "reader" not in seen
    assert "p%40ss" not in seen


@pytest.mark.parametrize("password", ["pa#hunter2", "pa/hunter2", "pa?hunter2", "pa:h#hunter2"])
def test_no_part_of_a_password_that_spoils_the_address_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, password: str
):
    caplog.set_level(logging.DEBUG)
    mirror = f"http://reader:{password}@127.0.0.1:9/zips"
    with pytest.raises(
        SourceUnavailable, match="MF_MOVIELENS_URL may name another place"
    ) as caught:
        fetch(sources.list_sources(catalog.find("ml-latest"), mirror), tmp_path)
    seen = str(caught.value) + caplog.text
    assert "'pa'" not in seen
    assert "hunter2" not in seen


def test_what_a_mirror_with_a_password_served_is_recorded_without_it(site: Web, tmp_path: Path):
    site.serve(ONE_KEY, WHOLE)
    secret = site.base.replace("http://", "http://reader:secret@")
    served = fetch(sources.list_sources(catalog.find("ml-latest-small"), secret), tmp_path)
    assert served.source == site.base + ONE_KEY


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
