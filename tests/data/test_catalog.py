from __future__ import annotations

import hashlib
import subprocess
import sys
from urllib.parse import unquote

import pytest

from mftasks.data import catalog
from mftasks.data.formats import FORMATS
from mftasks.errors import UnknownDataset


def test_every_release_of_the_issue_is_known_and_its_format_can_be_read():
    assert list(catalog.DATASETS) == [
        *("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m"),
        *("ml-latest-small", "ml-latest"),
    ]
    assert {dataset.format for dataset in catalog.DATASETS.values()} <= set(FORMATS)


def test_only_the_latest_releases_change():
    changing = [name for name, dataset in catalog.DATASETS.items() if not dataset.archive_md5]
    assert changing == ["ml-latest-small", "ml-latest"]


def test_a_misspelt_name_is_refused_with_a_suggestion():
    with pytest.raises(UnknownDataset, match="unknown data set 'ml-10k'; did you mean 'ml-100k'"):
        catalog.find("ml-10k")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:///tmp/", "neither CSV nor Parquet; its name must end in .csv or .parquet"),
        ("file:///data/mine.xlsx", "neither CSV nor Parquet; its name must end in"),
        ("file://elsewhere/mine.csv", "on the host 'elsewhere', but only the worker's own files"),
        (
            "s3://me:hunter2@shop/a.csv",
            "data set 's3://shop/a.csv' was given with a user or a password",
        ),
        ("file://me:hun#ter2@localhost/a.csv", "data set 'file://localhost/a.csv' was given with"),
    ],
)
def test_a_uri_that_cannot_be_of_ratings_is_refused(uri: str, message: str):
    with pytest.raises(UnknownDataset, match=message):
        catalog.check(uri)


@pytest.mark.parametrize(
    ("dataset", "uri"),
    [
        ("ml-100k", False),
        ("file:///tmp/a.csv", True),
        ("s3://b/a.csv", True),
        ("http://b/a", False),
    ],
)
def test_files_and_objects_are_uris(dataset: str, uri: bool):
    assert catalog.is_uri(dataset) is uri


@pytest.mark.parametrize(
    ("uri", "stem"),
    [
        ("file:///data/My%20Ratings_2024.csv", "my-ratings-2024"),
        ("s3://bucket/some/shop.parquet", "shop"),
        ("s3://bucket/data#1/ratings.csv", "ratings"),
        ("file:///data/日本.csv", "ratings"),
        (f"file:///data/{'x' * 300}.csv", "x" * 40),
    ],
)
def test_a_uri_is_identified_by_its_stem_and_8_hex_digits_of_its_hash(uri: str, stem: str):
    digits = hashlib.sha256(unquote(uri).encode()).hexdigest()[:8]
    assert catalog.identify(uri) == f"{stem}-{digits}"


@pytest.mark.parametrize(
    "uri", ["file://localhost/a%20b.csv", "FILE:///a b.csv", "file:///a%20b.csv", "file:///a b.csv"]
)
def test_a_file_is_one_data_set_however_its_uri_is_spelt(uri: str):
    assert catalog.identify(uri) == catalog.identify("file:///a b.csv")


def test_files_of_one_name_in_two_places_are_two_data_sets():
    uris = ["s3://shop/ratings.csv", "s3://films/ratings.csv", "file:///shop/ratings.csv"]
    assert len({catalog.identify(uri) for uri in uris}) == 3


def test_a_name_of_the_catalogue_identifies_itself_and_so_does_an_identity():
    assert catalog.identify("ml-100k") == "ml-100k"
    identity = catalog.identify("s3://shop/ratings.csv")
    assert catalog.identify(identity) == identity


def test_a_dag_can_import_the_catalogue_without_anything_heavy():
    code = (
        "import sys, mftasks.data.catalog\n"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'boto3') if m in sys.modules])"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "[]"
