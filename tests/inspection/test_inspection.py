"""What `inspect` finds out about files: it agrees with `validate`, and what it proposes reads them."""

from __future__ import annotations

import io
import json
import random
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from mftasks import inspection, params, settings
from mftasks.errors import InvalidDataset, InvalidPlan
from mftasks.inspection import Inspection, page
from mftasks.records import ReadConfig
from mftasks.steps.download import download
from mftasks.steps.plan import plan
from mftasks.steps.validate import validate
from mftasks.store.workspace import Workspace
from tests.reading.layouts import EXAMPLES, Example


def make_rows(n_users: int = 30, n_items: int = 20, seed: int = 5) -> list[list[str]]:
    draw = random.Random(seed)
    return [
        [f"u{user}", str(item), str(draw.randint(1, 5)), str(10**9 + 1000 * user + item)]
        for user in range(n_users)
        for item in draw.sample(range(n_items), 10)
    ]


def look(path: Path, **config: object) -> Inspection:
    chosen = params.parse({"dataset": str(path), **config})
    return inspection.inspect(chosen.general.dataset, chosen.reading, settings.read({}))


def write(folder: Path, rows: list[list[str]], header: str = "user,item,stars,time") -> Path:
    path = folder / "shop.csv"
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")
    return path


def print_page(found: Inspection) -> str:
    file = io.StringIO()
    console = Console(file=file, width=140)
    console.print(page.show(found))
    console.print(page.show_command(found), soft_wrap=True)
    return file.getvalue()


def test_a_good_file_is_shown_as_it_is_understood(tmp_path: Path) -> None:
    found = look(write(tmp_path, make_rows()))
    assert found.profile is not None
    profile = found.profile
    assert (profile.n_ratings, profile.n_users, profile.n_items) == (300, 30, 20)
    assert found.rows[0] == ("u0", *make_rows()[0][1:3], "2001-09-09 01:46")
    assert found.settled == {}
    assert found.cold["hash"] < 0.1
    assert found.cold["temporal"] == 1
    text = print_page(found)
    assert "text with commas between columns, a header" in text
    assert re.search(r"user +┃ item +┃ rating +┃ time \(UTC\)", text)
    assert "from stars" in text
    assert (
        "100% of a test part of 20 % are of users or items that training does not know; no" in text
    )
    assert f"""make run CONF='{{"dataset": "{tmp_path}/shop.csv"}}'""" in text


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.what)
def test_every_layout_is_shown(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "ratings"
    path.write_bytes(example.data)
    found = look(path, **example.config)
    assert found.profile is not None
    assert len(found.rows) >= min(5, len(example.rows))
    assert str(path) in print_page(found)


@pytest.mark.parametrize(
    ("change", "settled"),
    [
        (lambda rows: [*rows, ["u1", rows[10][1], "1", "1000000000"]], {"duplicates": "last"}),
        (lambda rows: [*rows, ["u1", "", "4", "1000000000"]], {"bad_rows": "drop"}),
        (lambda rows: [*rows, ["u1", "88", "good", "1000000000"]], {"bad_rows": "drop"}),
        (lambda rows: [[*row[:2], "99", row[3]] if n % 9 == 0 else row for n, row in enumerate(rows)],
         {"missing": [99.0]}),
        (lambda rows: [*rows, ["u1", "89", "1000", "1000000000"]],
         {"scale": [1.0, 5.0], "bad_rows": "drop"}),
        (lambda rows: [[*row[:2], "0", row[3]] if n % 2 else row for n, row in enumerate(rows)],
         {"missing": [0]}),
    ],
    ids=["doubled", "no item", "no number", "code", "outlier", "zeros"],
)  # fmt: skip
def test_what_is_proposed_reads_the_file(
    change: object, settled: dict[str, object], tmp_path: Path, workspace: Workspace
) -> None:
    path = write(tmp_path, change(make_rows()))  # type: ignore[operator]
    found = look(path)
    assert [one for one in found.checks if one.severity == "error" and not one.passed]
    assert found.settled == settled
    text = print_page(found)
    assert "refused  " in text
    conf = json.loads(shlex.split(re.search(r"CONF=(.*)", text)[1])[0])  # type: ignore[index]
    assert look(path, **{k: v for k, v in conf.items() if k != "dataset"}).settled is not None
    plan(workspace, "a", conf)
    download(workspace, "a")
    assert validate(workspace, "a").n_ratings > 100


def test_a_file_that_no_parameter_settles_is_to_be_corrected(tmp_path: Path) -> None:
    rows = [*make_rows(), *(["x", str(n), "no", "1"] for n in range(50))]
    found = look(write(tmp_path, rows))
    assert found.settled is None
    assert "no parameter settles all that is refused: correct the file" in print_page(found)


def test_a_file_that_nobody_understands_is_shown_as_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("once upon a time\nthere were ratings\x1b[2J\n")
    with pytest.raises(
        InvalidDataset, match=r"no delimiter.*\nthe file begins:\n  once upon a time"
    ):
        look(path)


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 20], ids=["empty", "no text"])
def test_what_is_no_text_is_not_shown(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(data)
    with pytest.raises(InvalidDataset) as refused:
        look(path)
    assert "the file begins" not in str(refused.value)


def test_a_file_that_cannot_be_opened_is_explained() -> None:
    with pytest.raises(InvalidPlan, match="data set 'file:///proc/self/mem' cannot be read: Input"):
        look(Path("/proc/self/mem"))


def test_the_parts_of_a_folder_are_looked_at_together(tmp_path: Path) -> None:
    rows = make_rows()
    for n in (0, 1):
        (tmp_path / f"{n}").mkdir()
        write(tmp_path / f"{n}", rows[n::2])
    found = look(tmp_path)
    assert found.profile is not None
    assert found.profile.n_ratings == len(rows)
    assert "2 files" in print_page(found)


def test_a_release_of_movielens_needs_no_look() -> None:
    with pytest.raises(InvalidPlan, match="ml-100k is a release of MovieLens"):
        inspection.inspect("ml-100k", ReadConfig(), settings.read({}))
