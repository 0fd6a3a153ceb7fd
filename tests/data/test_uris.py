from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import unquote

import pytest

from mftasks.data import catalog, uris
from mftasks.errors import UnknownDataset


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file://elsewhere/mine.csv", "on the host 'elsewhere', but only the worker's own files"),
        (
            "s3://me:hunter2@shop/a.csv",
            "data set 's3://shop/a.csv' was given with a user or a password",
        ),
        ("file://me:hun#ter2@localhost/a.csv", "data set 'file://localhost/a.csv' was given with"),
        ("https://me:hunter2@shop.org/a.csv", "data set 'https://shop.org/a.csv' was given with"),
        (
            "https://s3.org/a.csv?X-Amz-Credential=AKIA&X-Amz-Signature=0123",
            r"data set 'https://s3\.org/a\.csv' was given with 'X-Amz-Credential' in its query",
        ),
        ("https://blob.org/a.csv?sv=1&sig=0123", "was given with 'sig' in its query, which would"),
        ("https://x.org/a.csv?access_token=", "was given with 'access_token' in its query"),
        ("s3://shop", "data set 's3://shop' is a whole bucket; name an object, or a folder"),
        ("s3://shop/", "is a whole bucket"),
        ("s3:///a.csv", "names no host; expected s3://name/"),
        ("https:///a.csv", "names no host"),
        (
            "gs://shop/a.csv",
            "unknown data set 'gs://shop/a.csv'.*; or give a path, or a URI that begins",
        ),
    ],
)
def test_a_uri_that_no_worker_could_read_or_that_holds_a_secret_is_refused(
    uri: str, message: str
) -> None:
    with pytest.raises(UnknownDataset, match=message) as refused:
        catalog.check(uri)
    assert not {"hunter2", "ter2", "0123", "AKIA"} & set(
        str(refused.value).replace("=", " ").split()
    )


@pytest.mark.parametrize(
    "uri",
    [
        *("file:///data", "file:///data/*.csv", "s3://shop/ratings/", "s3://shop/2026-*/part"),
        *("https://x.org/a.csv?download=1&keyword=a", "HTTP://x.org/a"),
    ],
)
def test_files_folders_patterns_and_the_web_are_taken(uri: str) -> None:
    catalog.check(uri)


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("/data/My Ratings.csv", "file:///data/My%20Ratings.csv"),
        ("/data/", "file:///data"),
        ("ratings.csv", "file:///home/ana/ratings.csv"),
        ("RATINGS.CSV.GZ", "file:///home/ana/RATINGS.CSV.GZ"),
        ("shop/part-*", "file:///home/ana/shop/part-%2A"),
        ("./shop", "file:///home/ana/shop"),
        ("../bob/a.csv", "file:///home/bob/a.csv"),
        ("~/a.csv", "file:///home/eve/a.csv"),
        ("file:/data/a.csv", "file:///data/a.csv"),
        ("ml-100k", "ml-100k"),
        ("ratings-3f1c2a9b", "ratings-3f1c2a9b"),
        ("s3://shop/a.csv", "s3://shop/a.csv"),
        ("s3://shop/part-*", "s3://shop/part-*"),
    ],
)
def test_a_path_stands_for_a_file(given: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    assert uris.complete(given, Path("/home/ana")) == uri
    assert unquote(uris.parse(uri).path) == uris.parse(uri).path.replace("%20", " ")


def test_a_relative_path_means_nothing_to_a_worker() -> None:
    with pytest.raises(
        UnknownDataset, match=r"'ratings\.csv' is a relative path.* write the whole path"
    ):
        uris.complete("ratings.csv")


@pytest.mark.parametrize(
    ("dataset", "uri"),
    [
        ("ml-100k", False),
        ("file:///tmp/a.csv", True),
        ("s3://b/a.csv", True),
        ("http://b/a", True),
        ("ftp://b/a", False),
    ],
)
def test_files_objects_and_the_web_are_uris(dataset: str, uri: bool) -> None:
    assert uris.is_uri(dataset) is uri


@pytest.mark.parametrize(
    ("uri", "stem"),
    [
        ("file:///data/My%20Ratings_2024.csv", "my-ratings-2024"),
        ("s3://bucket/some/shop.parquet", "shop"),
        ("s3://bucket/data#1/ratings.csv", "ratings"),
        ("s3://bucket/ratings", "ratings"),
        ("file:///data/日本.csv", "ratings"),
        (f"file:///data/{'x' * 300}.csv", "x" * 40),
        ("https://x.org/data/shop.csv?download=1", "shop"),
    ],
)
def test_a_uri_is_identified_by_its_stem_and_8_hex_digits_of_its_hash(uri: str, stem: str) -> None:
    digits = hashlib.sha256(unquote(uri).encode()).hexdigest()[:8]
    assert catalog.identify(uri) == f"{stem}-{digits}"


@pytest.mark.parametrize(
    "uri", ["file://localhost/a%20b.csv", "FILE:///a b.csv", "file:///a%20b.csv", "file:///a b.csv"]
)
def test_a_file_is_one_data_set_however_its_uri_is_spelt(uri: str) -> None:
    assert catalog.identify(uri) == catalog.identify("file:///a b.csv")


def test_a_folder_is_one_data_set_with_and_without_its_slash() -> None:
    assert catalog.identify("s3://shop/ratings/") == catalog.identify("s3://shop/ratings")


def test_files_of_one_name_in_two_places_are_two_data_sets() -> None:
    named = ["s3://shop/ratings.csv", "s3://films/ratings.csv", "file:///shop/ratings.csv"]
    assert len({catalog.identify(uri) for uri in named}) == 3
