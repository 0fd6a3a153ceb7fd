from __future__ import annotations

import subprocess
import sys

import pytest

from mftasks.data import catalog
from mftasks.errors import UnknownDataset


def test_every_release_of_the_issue_is_known_and_its_format_can_be_read():
    assert list(catalog.DATASETS) == [
        *("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m"),
        *("ml-latest-small", "ml-latest"),
    ]
    assert all(dataset.layout.columns for dataset in catalog.DATASETS.values())


def test_only_the_latest_releases_change():
    changing = [name for name, dataset in catalog.DATASETS.items() if not dataset.archive_md5]
    assert changing == ["ml-latest-small", "ml-latest"]


def test_a_misspelt_name_is_refused_with_a_suggestion():
    with pytest.raises(UnknownDataset, match="unknown data set 'ml-10k'; did you mean 'ml-100k'"):
        catalog.find("ml-10k")


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
