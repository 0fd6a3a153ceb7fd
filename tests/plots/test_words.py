from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from mftasks.plots import words
from mftasks.records import Evaluation, Interval, Report, SplitConfig


def gain(value: float, half: float = 0.01) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def with_gains(run: Report, **gains: Interval) -> tuple[Evaluation, ...]:
    return tuple(msgspec.structs.replace(one, gain=gains[one.network]) for one in run.evaluations)


def test_the_summary_is_sober_about_small_gains(run: Report) -> None:
    def summary(value: float) -> str:
        evaluations = with_gains(run, linear=gain(value), mlp=gain(-0.5))
        return words.write_summary(evaluations[0], evaluations, "ml-100k")

    assert "is 0.0300 better (95\u00a0% interval 0.0200 – 0.0400)" in summary(0.03)
    assert "differs from it by 0.0050" in summary(0.005)
    assert "is 0.0300 worse (95\u00a0% interval 0.0200 – 0.0400)" in summary(-0.03)


def test_a_network_that_was_not_chosen_is_named_if_only_it_is_clearly_better(run: Report) -> None:
    evaluations = with_gains(run, linear=gain(0.005), mlp=gain(0.03))
    text = words.write_summary(evaluations[0], evaluations, "ml-100k")
    assert text.endswith("clearly better is mlp.")


def test_a_run_that_no_network_wins_is_not_headed_by_a_best_network(run: Report) -> None:
    won = with_gains(run, linear=gain(0.03), mlp=gain(-0.03))
    lost = with_gains(run, linear=gain(0.005), mlp=gain(-0.03))
    assert words.write_headline(won[0], won).startswith("Best network: linear, RMSE ")
    assert words.write_headline(lost[0], lost).startswith("No network beats the baseline ")
    assert words.write_headline(lost[0], lost[:1]).startswith("linear does not beat the baseline ")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (SplitConfig(strategy="canonical", fold=3), "canonical fold 3"),
        (SplitConfig(strategy="hash", test_fraction=0.2), "20 % by hash of user and item"),
        (
            SplitConfig(strategy="temporal", test_from=datetime(1998, 4, 1, tzinfo=UTC)),
            "everything from 1 April 1998 on",
        ),
    ],
)
def test_a_split_is_put_into_words(run: Report, config: SplitConfig, text: str) -> None:
    assert words.describe_split(msgspec.structs.replace(run.split, config=config)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.96, "1 min 0 s"), (75, "1 min 15 s"), (7320, "2 h 2 min")],
)
def test_durations_take_the_unit_that_fits(seconds: float, text: str) -> None:
    assert words.format_duration(seconds) == text
