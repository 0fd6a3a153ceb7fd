from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from mftasks.errors import InvalidDataset, MissingRecord
from mftasks.records import DatasetRef, Profile, ReadConfig, RunPlan, SplitConfig
from mftasks.steps.download import download
from mftasks.steps.validate import validate
from mftasks.store import keys
from mftasks.store.workspace import Workspace

HEADER = "user_id,item_id,rating,timestamp\n"
SOUND = HEADER + (
    "ana,1,4.5,874965758\nana,2,3,876893171\nbob,1,5,878542960\nbob,3,1,889751712\n"
    "cat,1,4.5,889751712\n"
)


HASH = SplitConfig(strategy="hash", test_fraction=0.2)


def download_text(
    workspace: Workspace,
    tmp_path: Path,
    text: str,
    split: SplitConfig = HASH,
    config: ReadConfig | None = None,
) -> DatasetRef:
    """Plan a run on the user's own ratings, and download them."""
    path = tmp_path / "mine.csv"
    path.write_text(text)
    plan = RunPlan(
        run_id="a",
        dataset=path.as_uri(),
        split=split,
        reading=config or ReadConfig(),
        trainings=(),
        created_at=datetime.now(UTC),
        code_version="0",
    )
    workspace.write(keys.run("a", "plan.json"), plan)
    return download(workspace, "a")


def test_the_profile_describes_the_data(workspace: Workspace, tmp_path: Path):
    ref = download_text(workspace, tmp_path, SOUND)
    profile = validate(workspace, "a")
    assert profile.dataset == ref
    assert (profile.n_ratings, profile.n_users, profile.n_items) == (5, 3, 3)
    assert profile.density == pytest.approx(5 / 9)
    assert profile.mean_rating == pytest.approx(3.6)
    assert profile.rating_counts == {"1": 1, "3": 1, "4.5": 2, "5": 1}
    assert profile.first_rated == datetime.fromtimestamp(874965758, UTC)
    assert profile.last_rated == datetime.fromtimestamp(889751712, UTC)
    assert list(profile.ratings_per_month.items()) == [
        *(("1997-09", 1), ("1997-10", 1), ("1997-11", 1)),
        *(("1997-12", 0), ("1998-01", 0), ("1998-02", 0), ("1998-03", 2)),
    ]
    assert profile.ratings_per_item.edges == (1.0, 2.0, 4.0)
    assert profile.ratings_per_item.counts == (2, 1)
    assert all(check.passed for check in profile.checks)
    assert workspace.read(keys.run("a", "profile.json"), Profile) == profile


def test_running_it_again_changes_nothing(workspace: Workspace, tmp_path: Path):
    download_text(workspace, tmp_path, SOUND)
    assert validate(workspace, "a") == validate(workspace, "a")


def test_all_errors_are_listed_and_nothing_is_written(workspace: Workspace, tmp_path: Path):
    bad = HEADER + "ana,1,4,874965758\nana,1,,874965758\n,2,inf,874965758\n"
    download_text(workspace, tmp_path, bad)
    with pytest.raises(InvalidDataset) as caught:
        validate(workspace, "a")
    lines = str(caught.value).splitlines()
    assert re.match(r"mine-[0-9a-f]{8} from file:///", lines[0])
    assert "breaks 5 of" in lines[0]
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "- rating is there",
        "- rating is finite",
        "- user_id is there",
        "- ratings differ",
        "- user and item are a pair only once",
        "to see more",
    ]
    assert not workspace.store.exists(keys.run("a", "profile.json"))


def test_a_file_that_cannot_be_read_is_named(workspace: Workspace, tmp_path: Path):
    ref = download_text(workspace, tmp_path, HEADER + "ana,1,good,874965758\n")
    with pytest.raises(InvalidDataset) as caught:
        validate(workspace, "a")
    assert str(caught.value).startswith(f"{ref.name} from {ref.source} breaks")
    assert "- every row can be read: 1 of 1 rows cannot: line 2: rating 'good'" in str(caught.value)


STARS = "".join(
    f"{user},{item},{(user * 7 + item * 3) % 5 + 1},874965758\n"
    for user in range(1, 41)
    for item in range(1, 31)
    if (user + item) % 3
)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("ana,1,good,874965758\n", "every row can be read: 1 of 1 rows cannot: line 2"),
        (STARS + "999,1,1000000000,5\n", "1e+09 is 1 of 801 ratings (line 802)"),
        (STARS + "998,1,99,5\n999,1,99,5\n", "99 is 2 of 802 ratings (line 802, line 803)"),
        (STARS + "Total,Total,2400,\n", "2400 is 1 of 801 ratings (line 802)"),
        (STARS + "1,7,4,5\n", "(1, 7) in line 6, line 802; correct them, or set duplicates"),
        (STARS + '99,1,5,"5\n', "quotation mark"),
    ],
)
def test_every_refusal_ends_with_the_command_that_shows_more(
    workspace: Workspace, tmp_path: Path, rows: str, sentence: str
):
    ref = download_text(workspace, tmp_path, HEADER + rows)
    with pytest.raises(InvalidDataset) as caught:
        validate(workspace, "a")
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(f"\nto see more: python -m mftasks inspect {ref.source}")


def test_the_command_shows_no_password_and_can_be_pasted(workspace: Workspace, tmp_path: Path):
    ref = download_text(workspace, tmp_path, HEADER + "ana,1,good,1\n")
    secret = msgspec.structs.replace(ref, source="s3://me:hunter2@shop/my ratings.csv")
    workspace.store.delete(keys.run("a", "download.json"))
    workspace.write(keys.run("a", "download.json"), secret)
    with pytest.raises(InvalidDataset) as caught:
        validate(workspace, "a")
    assert str(caught.value).endswith(
        "\nto see more: python -m mftasks inspect 's3://shop/my ratings.csv'"
    )
    assert str(caught.value).count("hunter2") == 0


def test_rows_that_were_left_out_are_counted_by_reason(workspace: Workspace, tmp_path: Path):
    rows = STARS + "998,1,99,5\n,,,\n1,1,1,874965758\n1,7,4,5\n"
    config = ReadConfig(missing=(99,), duplicates="last")
    download_text(
        workspace,
        tmp_path,
        HEADER + rows + "7,x\n",
        config=msgspec.structs.replace(config, bad_rows="drop"),
    )
    profile = validate(workspace, "a")
    assert profile.dropped == {"empty": 1, "missing": 1, "duplicates": 2, "bad": 1}
    assert profile.n_ratings == 800


def test_a_profile_of_before_layouts_is_still_read(workspace: Workspace, tmp_path: Path):
    download_text(workspace, tmp_path, SOUND)
    profile = msgspec.to_builtins(validate(workspace, "a"))
    del profile["layout"], profile["dropped"]
    assert msgspec.convert(profile, Profile).layout is None


def test_warnings_are_reported_and_do_not_stop_the_run(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    download_text(workspace, tmp_path, SOUND.replace("874965758", "874965758000"))
    with caplog.at_level(logging.WARNING):
        profile = validate(workspace, "a")
    warned = [check for check in profile.checks if not check.passed]
    assert [(check.name, check.severity) for check in warned] == [
        ("timestamp is plausible", "warning")
    ]
    assert f"{profile.dataset.name}: timestamp is plausible: 1 of 5" in caplog.text
    assert profile.first_rated == datetime.fromtimestamp(876893171, UTC)


def test_ratings_without_timestamps_have_no_months(workspace: Workspace, tmp_path: Path):
    text = "user_id,item_id,rating\n1,1,4\n1,2,3\n2,1,5\n"
    download_text(workspace, tmp_path, text)
    profile = validate(workspace, "a")
    assert (profile.first_rated, profile.last_rated, profile.ratings_per_month) == (None, None, {})


@pytest.mark.parametrize(
    "split",
    [
        SplitConfig(strategy="temporal", test_from=datetime(1998, 1, 1, tzinfo=UTC)),
        SplitConfig(strategy="hash", test_fraction=0.2, as_of=datetime(1998, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_split_by_time_needs_a_timestamp_for_each_rating(
    workspace: Workspace, tmp_path: Path, split: SplitConfig
):
    download_text(workspace, tmp_path, SOUND.replace(",889751712", ","), split)
    with pytest.raises(InvalidDataset, match="timestamp is there: 2 of 5: nothing in line 5"):
        validate(workspace, "a")


def test_many_different_ratings_are_counted_in_bins(workspace: Workspace, tmp_path: Path):
    lines = [f"{row},{row % 9},{row / 7:.3f}" for row in range(700)]
    download_text(workspace, tmp_path, "user_id,item_id,rating\n" + "\n".join(lines))
    counts = validate(workspace, "a").rating_counts
    assert len(counts) == 20
    assert sum(counts.values()) == 700


def test_validate_before_download_is_refused(workspace: Workspace, tmp_path: Path):
    download_text(workspace, tmp_path, SOUND)
    workspace.store.delete(keys.run("a", "download.json"))
    with pytest.raises(MissingRecord, match=r"download\.json is not there"):
        validate(workspace, "a")
