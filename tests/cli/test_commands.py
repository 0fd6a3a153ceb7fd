from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command_line import ROOT, answer, mf, start


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
    given = [
        *("--set", f"dataset={ratings_csv}", "--set", "epochs=2", "--run-id", "mine"),
        *("--set", 'networks=["mlp"]'),
    ]
    code, out, err = mf("run", *given, tmp_path=tmp_path)
    assert code == 0, err
    assert "mlp" in out
    assert (tmp_path / "store/runs/mine/manifest.json").is_file()
    assert "train mlp: epoch 2 of 2" in err
    assert re.search(r"^[-\d]+ [:,\d]+ evaluate mlp: RMSE ", err, re.MULTILINE), err

    code, out, err = answer("predict", "--user", "user-3", "--item", "7", tmp_path=tmp_path)
    assert code == 0, err
    assert 1 <= float(out.split()[0]) <= 5

    before = (tmp_path / "store/runs/mine/manifest.json").stat()
    code, _, err = mf("run", *given, tmp_path=tmp_path)
    assert code == 0, err
    after = (tmp_path / "store/runs/mine/manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        (["run", "--set", "epohcs=3"], {}, 64, "did you mean 'epochs'"),
        (["run", "--set", "dataset=file:///no/such.csv"], {}, 64, "no/such.csv"),
        (["run"], {"MF_STORE": "ftp://x"}, 64, "ftp://x"),
        (["run"], {"MF_CHECKPOINT_SECONDS": "soon"}, 64, "soon"),
        (["validate", "--run-id", "nobody"], {}, 66, "nobody"),
        (["run", "--set", "dataset=[foo]"], {}, 64, "unknown data set '[foo]'"),
        (["run", "--set", "dataset=[/foo]"], {}, 64, "/[/foo]'; it must be a file"),
        (["predict", "--user", "1", "--item", "2"], {}, 66, "no published run"),
        (["predict", "--user", "1", "--item", "2", "--from", "[/x]"], {}, 66, "run '[/x]'"),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(
    tmp_path: Path, arguments: list[str], environment: dict, code: int, sentence: str
) -> None:
    found, out, err = answer(*arguments, tmp_path=tmp_path, **environment)

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
    assert "nothing in line 4" in err


def test_sigterm_stops_a_run_and_its_children(tmp_path: Path, ratings_csv: str) -> None:
    child = start(
        "run", "--set", f"dataset={ratings_csv}", "--set", "epochs=10000", "--run-id", "long",
        tmp_path=tmp_path,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if re.search(r"train \w+: epoch [1-9]", line):  # epoch 0 waits for a device
            break
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)

    assert child.returncode == 75
    assert _processes_of(tmp_path) == []
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
    code, out, err = answer("plan", "--run-id", "r", "--set", "fold=3", tmp_path=tmp_path)
    assert code == 0, err
    assert json.loads(out)["split"]["fold"] == 3


def test_a_signal_that_comes_while_a_line_is_logged_is_not_lost() -> None:
    script = (
        "import logging, os, signal\n"
        "from mftasks import __main__ as cli\n"
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
