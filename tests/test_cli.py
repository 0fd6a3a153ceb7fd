from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mftasks import published
from mftasks.data import catalog
from mftasks.published import index
from mftasks.records import Manifest
from mftasks.store.blobs import sha256_of
from mftasks.store.workspace import Workspace, run_key
from tests.finished_run import DATASET, RUN, TITLES, published_run

ROOT = Path(__file__).parent.parent


def start(*arguments: str, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mftasks", *arguments],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MF_STORE": (tmp_path / "store").as_uri(),
            "MF_CACHE": str(tmp_path / "cache"),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mf(*arguments: str, tmp_path: Path, **environment: str) -> tuple[int, str, str]:
    child = start(*arguments, tmp_path=tmp_path, **environment)
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err


@pytest.fixture
def ratings_csv(tmp_path: Path, tiny_ratings) -> str:
    """Give the URI of somebody's own ratings, with words for users."""
    lines = ["user_id,item_id,rating"]
    lines += [
        f"user-{user},{item},{rating:g}"
        for user, item, rating in zip(*(side.tolist() for side in tiny_ratings), strict=True)
    ]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path.as_uri()


def test_a_whole_run_in_one_terminal_then_predict_and_recommend(
    tmp_path: Path, ratings_csv: str
) -> None:
    given = ["--set", f"dataset={ratings_csv}", "--set", "epochs=2", "--run-id", "mine"]
    code, out, err = mf("run", *given, tmp_path=tmp_path)
    assert code == 0, err
    assert "linear" in out
    assert "resnet" in out
    assert (tmp_path / "store/runs/mine/manifest.json").is_file()
    assert "train mlp: epoch 2 of 2" in err
    assert re.search(r"^[-\d]+ [:,\d]+ evaluate mlp: RMSE ", err, re.MULTILINE), err

    code, out, err = mf("predict", "--user", "user-3", "--item", "7", tmp_path=tmp_path)
    assert code == 0, err
    assert 1 <= float(out.split()[0]) <= 5

    before = (tmp_path / "store/runs/mine/manifest.json").stat()
    code, _, err = mf("run", *given, tmp_path=tmp_path)
    assert code == 0, err
    after = (tmp_path / "store/runs/mine/manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.fixture
def hostile_run(tmp_path: Path) -> Workspace:
    """Give a published run whose items are called what rich and terminals would interpret."""
    workspace = published_run(tmp_path)
    manifest = workspace.read(run_key(RUN, "manifest.json"), Manifest)
    titles = json.dumps({item: f"film [/x] \x1b[31m {item}" for item in TITLES}).encode()
    key = run_key(RUN, "titles.json")
    workspace.store.put(key, titles, "application/json")
    files = tuple(
        replace(file, sha256=sha256_of(titles), n_bytes=len(titles)) if file.key == key else file
        for file in manifest.files
    )
    data = msgspec.json.encode(replace(manifest, files=files))
    workspace.store.put(run_key(RUN, "manifest.json"), data, "application/json")
    return workspace


def test_each_item_is_marked_if_its_rating_is_no_prediction(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    items = ("--item", "7", "--item", "[/b]")
    code, out, err = mf("predict", "--user", "3", *items, tmp_path=tmp_path)
    assert code == 0, err
    known, unknown = out.splitlines()
    by = hostile_run.read(run_key(RUN, "manifest.json"), Manifest).best
    assert known[4:] == rf"  film [/x] \x1b[31m 7  ({by}, {RUN})"
    assert unknown[4:] == (
        f"  item [/b]  (no prediction by {by}, {RUN}: item '[/b]' is not in the training data)"
    )


def test_recommendations_leave_out_all_that_the_user_has_rated(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    run = published.open_run(hostile_run)
    code, out, err = mf("recommend", "--user", "3", "--top", "40", tmp_path=tmp_path)
    assert code == 0, err
    rows = [line.split("│")[1:] for line in out.splitlines() if "│" in line]
    items = {int(row[1]) for row in rows}
    assert items == {*run.bundle().tables.item_ids.tolist()} - {*run.rated_by("3")}
    assert all(r"film [/x] \x1b[31m" in row[2] for row in rows)


def test_recommendations_to_a_stranger_are_marked_as_such(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    code, out, err = mf("recommend", "--user", "[b]x", "--network", "mlp", tmp_path=tmp_path)
    assert code == 0, err
    assert out.startswith(
        "user '[b]x' is not in the training data: these are the best items for everybody\n"
    )
    assert f"user [b]x, by mlp, {RUN}" in out


def test_with_several_data_sets_the_command_line_asks_for_one(
    hostile_run: Workspace, tmp_path: Path
) -> None:
    manifest = hostile_run.read(run_key(RUN, "manifest.json"), Manifest)
    uri = "s3://shop/ratings.csv"
    name = catalog.identify(uri)
    other = replace(manifest, run_id="shop", dataset=replace(manifest.dataset, name=name))
    hostile_run.write(run_key("shop", "manifest.json"), other)
    index.put(hostile_run, other)
    for command in (("predict", "--user", "3", "--item", "7"), ("recommend", "--user", "3")):
        code, out, err = mf(*command, tmp_path=tmp_path)
        assert (code, out) == (64, "")
        assert f"2 data sets; name one by --dataset: {DATASET}, {name}" in err
        code, out, err = mf(*command, "--dataset", uri, tmp_path=tmp_path)
        assert code == 0, err
        assert ", shop" in out
    code, out, err = mf("runs", tmp_path=tmp_path)
    assert code == 0, err
    assert all(word in out for word in (DATASET, name, RUN, "shop"))
    code, out, err = mf("runs", "--dataset", DATASET, tmp_path=tmp_path)
    assert "shop" not in out


def test_the_copy_of_the_latest_run_answers_only_for_its_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = published_run(tmp_path)
    manifest = workspace.read(run_key(RUN, "manifest.json"), Manifest)
    published.copy(workspace, manifest, tmp_path / "output/latest")
    workspace.store.delete_many(workspace.store.list(""))
    asked = ("predict", "--user", "3", "--item", "7")
    assert mf(*asked, tmp_path=tmp_path, MF_STORE="")[0] == 0
    assert mf(*asked, "--dataset", DATASET, tmp_path=tmp_path, MF_STORE="")[0] == 0
    code, _, err = mf(*asked, "--dataset", "ml-1m", tmp_path=tmp_path, MF_STORE="")
    assert (code, "holds no published run" in err) == (66, True)


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        (["run", "--set", "epohcs=3"], {}, 64, "did you mean 'epochs'"),
        (["run", "--set", "dataset=file:///no/such.csv"], {}, 64, "no/such.csv"),
        (["run"], {"MF_STORE": "ftp://x"}, 64, "ftp://x"),
        (["run"], {"MF_CHECKPOINT_SECONDS": "soon"}, 64, "soon"),
        (["validate", "--run-id", "nobody"], {}, 66, "nobody"),
        (["run", "--set", "dataset=[/foo]"], {}, 64, "unknown data set '[/foo]'"),
        (["predict", "--user", "1", "--item", "2"], {}, 66, "no published run"),
        (["predict", "--user", "1", "--item", "2", "--from", "[/x]"], {}, 66, "run '[/x]'"),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(
    tmp_path: Path, arguments: list[str], environment: dict, code: int, sentence: str
) -> None:
    found, out, err = mf(*arguments, tmp_path=tmp_path, **environment)

    assert found == code
    assert sentence in err
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.glob("store/runs/*/manifest.json"))


def test_bad_data_end_the_run_with_every_failed_check(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("user_id,item_id,rating\n1,1,3\n1,1,4\n2,1,\n2,2,5\n")
    code, _, err = mf("run", "--set", f"dataset={path.as_uri()}", tmp_path=tmp_path)

    assert code == 65
    assert "rated more than once: (1, 1)" in err
    assert "nothing in row 3" in err


def test_sigterm_stops_a_run_and_its_children(tmp_path: Path, ratings_csv: str) -> None:
    child = start(
        "run", "--set", f"dataset={ratings_csv}", "--set", "epochs=10000", "--run-id", "long",
        tmp_path=tmp_path,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if "train" in line and "epoch" in line:
            break
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)

    assert child.returncode == 75
    assert not _processes_of(tmp_path)
    assert not (tmp_path / "store/runs/long/manifest.json").exists()
    assert list((tmp_path / "store/runs/long").glob("*/checkpoints/*"))


def _processes_of(tmp_path: Path) -> list[str]:
    """Return the commands whose environment names our own store."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(tmp_path).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            time.sleep(0)  # it ended while we looked
    return found


def test_a_step_prints_its_record(tmp_path: Path) -> None:
    code, out, err = mf("plan", "--run-id", "r", "--set", "fold=3", tmp_path=tmp_path)
    assert code == 0, err
    assert json.loads(out)["split"]["fold"] == 3


def test_a_signal_that_comes_while_a_line_is_logged_is_not_lost() -> None:
    script = (
        "import logging, os, signal\n"
        "from mftasks import cli\n"
        "class Slow:\n"
        "    def __str__(self): os.kill(os.getpid(), signal.SIGTERM); return 'slow'\n"
        "cli.app = lambda: (logging.info('%s', Slow()), print('went on'))\n"
        "cli.main()"
    )
    asked = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stdout) == (75, "")
    assert "stopped by SIGTERM" in asked.stderr
