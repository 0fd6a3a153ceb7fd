from __future__ import annotations

import re

import msgspec

from mftasks.plots import page
from mftasks.records import Group, Layer, Report


def page_of(run: Report) -> str:
    return page.render_report(run).decode()


def test_a_network_without_sides_is_pictured_too(run: Report) -> None:
    tower = Layer(name="tower", kind="Dense", detail="8 → 1", n_parameters=9)
    result = msgspec.structs.replace(
        run.results[0],
        formula="Any formula <i>",
        architecture=Layer(name="ncf", kind="Ncf", n_parameters=9, layers=(tower,)),
    )
    drawn = page_of(msgspec.structs.replace(run, results=(result, *run.results[1:])))
    assert "dense <small>8 → 1</small>" in drawn
    assert "Any formula &lt;i&gt;" in drawn


def test_a_run_without_a_description_of_its_networks_is_still_shown(run: Report) -> None:
    results = tuple(msgspec.structs.replace(one, architecture=None) for one in run.results)
    assert "Best network" in page_of(msgspec.structs.replace(run, results=results))


def test_networks_are_listed_in_the_order_that_chose_the_best(run: Report) -> None:
    """Although it is worse on the test part, the network that validation chose comes first."""
    chosen, other = sorted(run.evaluations, key=lambda one: one.network != run.best)
    worse = msgspec.structs.replace(chosen, rmse=other.rmse + 1)
    shown = page_of(msgspec.structs.replace(run, evaluations=(other, worse)))
    rows = re.findall(r"</span>(\w+( \(chosen\))?)</th>", shown)
    assert [row[0] for row in rows] == [f"{chosen.network} (chosen)", other.network]
    assert "validation RMSE</th>" in shown


def test_warnings_head_the_report(run: Report, drawn: str) -> None:
    assert "Warning" not in drawn
    split = msgspec.structs.replace(run.split, warnings=("98% <of> the test part",))
    evaluations = tuple(
        msgspec.structs.replace(one, rmse_interval=None, gain=None) for one in run.evaluations
    )
    doubtful = msgspec.structs.replace(run, split=split, evaluations=evaluations)
    head, _, _ = page_of(doubtful).partition("The networks compared")
    assert "<b>Warning</b> 98% &lt;of&gt; the test part." in head
    assert "too few users took part for intervals" in head


def test_known_and_new_pairs_are_shown_apart_with_their_number(run: Report, drawn: str) -> None:
    assert "Known and new users" not in drawn
    groups = (
        Group(label="known", n_ratings=1_234, rmse=0.71),
        Group(label="new user", n_ratings=56, rmse=1.23),
    )
    evaluations = tuple(msgspec.structs.replace(one, by_novelty=groups) for one in run.evaluations)
    shown = page_of(msgspec.structs.replace(run, evaluations=evaluations))
    assert '<th scope="row">known</th><td>1,234</td><td>0.7100</td><td>0.7100</td>' in shown
    assert '<th scope="row">new user</th><td>56</td><td>1.2300</td>' in shown
