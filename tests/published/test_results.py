from __future__ import annotations

import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from mftasks.published.results import conclude, find_best, tabulate_results, tabulate_runs
from mftasks.records import Group, Interval, Manifest, Score
from mftasks.store import keys
from tests.finished_run import RUN, published_run

SCORE = Score(
    network="mlp",
    rmse=0.92614,
    rmse_interval=Interval(value=0.92614, low=0.9025, high=0.9499),
    mae=0.7,
    valid_rmse=0.91,
    baseline="biases",
    baseline_rmse=0.9616,
    gain=Interval(value=0.0355, low=0.03, high=0.04),
    best_epoch=9,
    n_epochs=12,
    seconds=1.94,
    device="cpu",
)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return published_run(tmp_path).read(keys.run(RUN, "manifest.json"), Manifest)


def show(table: object) -> list[list[str]]:
    """Return the cells of each line of a table."""
    file = io.StringIO()
    Console(file=file, width=200).print(table)
    return [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in file.getvalue().splitlines()
        if "│" in line
    ]


def test_the_chosen_network_is_first_and_the_others_follow_by_validation(
    manifest: Manifest,
) -> None:
    scores = [
        replace(SCORE, network=name, valid_rmse=valid, rmse=test)
        for name, valid, test in (("c", 0.95, 0.90), ("b", 0.93, 0.94), ("a", 0.94, 0.92))
    ]
    rows = show(tabulate_results(replace(manifest, best="b", scores=tuple(scores))))
    assert [row[0] for row in rows] == ["b", "a", "c"]


def test_warm_and_cold_ratings_are_apart_with_their_numbers(manifest: Manifest) -> None:
    apart = {
        "warm": Group(label="known", n_ratings=19_964, rmse=0.9236),
        "cold": Group(label="cold", n_ratings=36, rmse=1.0312),
    }
    table = tabulate_results(replace(manifest, best="mlp", scores=(replace(SCORE, **apart),)))
    assert [str(column.header) for column in table.columns][-2:] == ["warm (19,964)", "cold (36)"]
    assert show(table)[0][-2:] == ["0.9236", "1.0312"]


def test_a_row_holds_every_figure(manifest: Manifest) -> None:
    [row] = show(tabulate_results(replace(manifest, best="mlp", scores=(SCORE,))))
    assert row == ["mlp", "0.9261", "0.9025 – 0.9499", "0.9616", "0.9100", "9 of 12", "1.9"]


def test_a_figure_that_is_not_known_is_left_empty_or_explained(manifest: Manifest) -> None:
    score = replace(SCORE, rmse_interval=None, valid_rmse=None)
    [row] = show(tabulate_results(replace(manifest, best="mlp", scores=(score,))))
    assert (row[2], row[4]) == ("too few users", "")


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (SCORE.gain, "mlp is chosen; it is 0.0355 better than the baseline biases (0.9616)"),
        (
            Interval(value=0.001, low=-0.01, high=0.02),
            "mlp is chosen; it is not clearly better than the baseline biases (0.9616)",
        ),
        (None, "mlp is chosen; it is not clearly better than the baseline biases (0.9616)"),
        (
            Interval(value=-0.05, low=-0.06, high=-0.01),
            "mlp is chosen, but it is 0.0500 worse than the baseline biases (0.9616)",
        ),
    ],
)
def test_the_last_line_shows_whether_the_baseline_is_beaten(
    gain: Interval | None, sentence: str
) -> None:
    assert conclude(replace(SCORE, gain=gain)) == sentence


def test_a_list_of_runs_names_the_chosen_network(manifest: Manifest) -> None:
    [row] = show(tabulate_runs([manifest]))
    best = find_best(manifest)
    assert row[1:] == [
        *("films", RUN, best.network, f"{best.rmse:.4f}", f"{best.baseline_rmse:.4f}"),
    ]
