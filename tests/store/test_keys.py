from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mftasks.errors import InvalidDataset
from mftasks.store import keys

ROOT = Path(__file__).parents[2]
PREFIX = re.compile(r"(runs|datasets|splits|index|champions)/\S*")


def test_only_one_file_spells_keys_out() -> None:
    sources = [
        path for room in ("mftasks", "plugins", "dags") for path in (ROOT / room).rglob("*.py")
    ]
    spelled = {
        path.name
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and PREFIX.fullmatch(str(node.value))
    }
    assert spelled == {"keys.py"}


def test_what_belongs_together_lies_in_one_folder() -> None:
    run = [keys.run("r", keys.MANIFEST), keys.network("r", "mlp", "bundle/bundle.json")]
    assert {keys.folder(key) for key in run} == {keys.run("r")} == {"runs/r"}
    assert keys.folder(keys.split("f", "train.npz")) == keys.split("f") == "splits/f"
    assert keys.folder(keys.data_by_name("ml-1m")) == keys.BY_NAME


@pytest.mark.parametrize("name", ["..", "../a", "a/../b", "/a"])
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidDataset, match="leaves its folder"):
        keys.check(name)


@pytest.mark.parametrize("name", ["a", "a..b", ".hidden", "a/..b"])
def test_dots_within_a_name_are_harmless(name: str) -> None:
    assert keys.check(name) == name
