from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mftasks.data import titles
from mftasks.data.catalog import DATASETS
from tests import movielens


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m", "ml-20m"])
def test_titles_are_read_in_every_layout(name: str, tmp_path: Path):
    path = tmp_path / Path(DATASETS[name].members[1]).name
    path.write_bytes(movielens.titles(DATASETS[name]))
    assert titles.read(path) == movielens.TITLES


def test_the_mirror_keeps_the_year_apart(tmp_path: Path):
    with zipfile.ZipFile(movielens.wheel(tmp_path, movielens.ROWS)) as opened:
        member = "recbole/dataset_example/ml-100k/ml-100k.item"
        path = Path(opened.extract(member, tmp_path))
    assert titles.read(path) == {"4": "Les Misérables (1995)", "31": "Dangerous Minds (1995)"}


def test_a_title_without_a_year_is_left_as_it_is_and_an_item_without_a_title_out(tmp_path: Path):
    path = tmp_path / "ml-100k.item"
    path.write_text(
        "item_id:token\n267\tunknown\tunknown\tunknown\n1412\tLand (1995)\tV\tDrama\n5\n"
    )
    assert titles.read(path) == {"267": "unknown", "1412": "Land (1995)"}
