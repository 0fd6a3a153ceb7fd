from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from mftasks import progress, settings
from mftasks.data.fetching import gathering
from mftasks.errors import InvalidPlan, SourceUnavailable
from mftasks.progress import Tick
from tests.web import Answer, Web

ROWS = b"user_id,item_id,rating\n1,2,3\n"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Give a folder of parts as Spark writes it, with what is no part of it."""
    folder = tmp_path / "shop"
    (folder / "year=2026").mkdir(parents=True)
    for name in ("part-1.csv", "part-0.csv", "year=2026/part-2.csv"):
        (folder / name).write_bytes(ROWS + name.encode())
    for name in ("_SUCCESS", ".part-0.csv.crc", "part-3.csv"):
        (folder / name).write_bytes(b"" if name == "part-3.csv" else b"no part")
    return folder


def gather(uri: str, tmp_path: Path, **given: str) -> list[Path]:
    arrived = Path(tempfile.mkdtemp(dir=tmp_path))
    values = {f"MF_{name.upper()}": value for name, value in given.items()}
    return gathering.gather(uri, arrived, progress.silent, settings.read(values))


def test_the_parts_of_a_folder_come_in_the_order_of_their_names(here: Path, tmp_path: Path) -> None:
    found = gather(here.as_uri(), tmp_path)
    assert [path.name for path in found] == ["part-0.csv", "part-1.csv", "year=2026_part-2.csv"]
    assert [path.read_bytes()[-10:] for path in found] == [
        b"part-0.csv",
        b"part-1.csv",
        b"part-2.csv",
    ]


def test_a_pattern_chooses_among_the_files(here: Path, tmp_path: Path) -> None:
    names = [path.name for path in gather(f"file://{here}/*-1*", tmp_path)]
    assert names == ["ratings"]
    (here / "part-1?[x].csv").write_bytes(ROWS)
    names = [path.name for path in gather(f"file://{here}/part-1*", tmp_path)]
    assert names == ["part-1.csv", "part-1_x_.csv"]


def test_a_star_in_the_name_of_a_file_that_is_there_is_a_letter(tmp_path: Path) -> None:
    (tmp_path / "a*.csv").write_bytes(ROWS)
    (tmp_path / "ab.csv").write_bytes(ROWS)
    assert len(gather(f"file://{tmp_path}/a*.csv", tmp_path)) == 1


@pytest.mark.parametrize("name", ["nothing-*", "hidden", "absent.csv"])
def test_nothing_to_read_is_refused(name: str, here: Path, tmp_path: Path) -> None:
    (here / "hidden").mkdir()
    (here / "hidden" / "_SUCCESS").write_bytes(b"x")
    with pytest.raises(InvalidPlan, match=r"has no file with ratings|No such file or directory"):
        gather(f"file://{here}/{name}", tmp_path)


def test_folders_and_patterns_stay_within_the_folders_for_data(here: Path, tmp_path: Path) -> None:
    (tmp_path / "private.csv").write_bytes(ROWS)
    (here / "link.csv").symlink_to(tmp_path / "private.csv")
    for name in ("shop", "shop/l*", "priv*", "shop/../priv*"):
        with pytest.raises(InvalidPlan, match="outside the folders of MF_DATA_ROOTS"):
            gather(f"file://{tmp_path}/{name}", tmp_path, data_roots=str(here))


def test_files_that_are_too_large_together_are_refused(here: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidPlan, match="more than the 100 bytes that MF_DATA_BYTES allows"):
        gather(here.as_uri(), tmp_path, data_bytes="100")
    assert len(gather(here.as_uri(), tmp_path, data_bytes="200")) == 3


def test_too_many_files_are_refused(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST_PARTS", 2)
    with pytest.raises(InvalidPlan, match="has 3 files, and at most 2 are read"):
        gather(here.as_uri(), tmp_path)


def test_progress_goes_over_all_parts(here: Path, tmp_path: Path) -> None:
    ticks: list[Tick] = []
    (tmp_path / "arrived").mkdir()
    gathering.gather(here.as_uri(), tmp_path / "arrived", ticks.append, settings.read({}))
    done = [tick.done for tick in ticks]
    assert done == sorted(done)
    assert (
        ticks[-1].done
        == ticks[-1].total
        == sum(path.stat().st_size for path in here.rglob("p*-[012]*"))
    )


def test_a_file_of_the_web_is_read_from_a_host_that_is_named(site: Web, tmp_path: Path) -> None:
    url = site.serve("/a.csv?download=1", Answer(ROWS))
    with pytest.raises(InvalidPlan, match=r"127\.0\.0\.1, which is not public"):
        gather(url, tmp_path)
    assert site.asked == []
    [path] = gather(url, tmp_path, data_hosts="127.0.0.1")
    assert path.read_bytes() == ROWS


def test_a_redirect_does_not_lead_out_of_reach(site: Web, tmp_path: Path) -> None:
    site.serve("/inside", Answer(ROWS))
    url = site.serve("/a", Answer(status=302, location=f"{site.base}/inside"))
    host = site.base.removeprefix("http://").replace("127.0.0.1", "localhost")
    url = url.replace("127.0.0.1", "localhost")
    with pytest.raises(InvalidPlan, match=r"host '127\.0\.0\.1' is none of those in MF_DATA_HOSTS"):
        gather(url, tmp_path, data_hosts=host)
    assert site.asked == ["/a"]


def test_the_login_of_a_web_server_is_in_netrc(
    site: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ana password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    gather(site.serve("/a.csv", Answer(ROWS)), tmp_path, data_hosts="*")
    assert site.authorizations == ["Basic YW5hOnNlY3JldA=="]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(status=404), (InvalidPlan, "HTTP 404")),
        (Answer(status=503), (SourceUnavailable, "HTTP 503")),
        (Answer(ROWS, announced=10**6), (Exception, "truncated")),
    ],
)
def test_a_web_server_that_does_not_serve_the_file_is_explained(
    answer: Answer, expected: tuple[type[Exception], str], site: Web, tmp_path: Path
) -> None:
    with pytest.raises(expected[0], match=expected[1]):
        gather(site.serve("/a.csv", answer), tmp_path, data_hosts="*")


def test_a_file_that_arrives_truncated_once_is_fetched_again(site: Web, tmp_path: Path) -> None:
    url = site.serve("/a.csv", Answer(ROWS, announced=10**6), Answer(ROWS))
    [path] = gather(url, tmp_path, data_hosts="*")
    assert path.read_bytes() == ROWS
