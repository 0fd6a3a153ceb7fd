from __future__ import annotations

from pathlib import Path

import pytest

from mftasks import bundle
from mftasks.data.arrays import Part
from tests.bundle.exports import export_network


@pytest.fixture
def train(tiny_ratings: Part) -> Part:
    return tiny_ratings


@pytest.fixture
def folder(tmp_path: Path, train: Part) -> Path:
    export_network(tmp_path / "bundle", train)
    return tmp_path / "bundle"


@pytest.fixture
def loaded(folder: Path) -> bundle.Bundle:
    return bundle.load(folder)
