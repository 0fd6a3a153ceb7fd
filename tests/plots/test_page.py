from __future__ import annotations

import re

import msgspec

from mftasks.plots import page
from mftasks.records import Check, Group, Layer, Layout, Report


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


def test_odd_data_head_the_report_and_rows_that_were_left_out_are_counted(
    run: Report, drawn: str
) -> None:
    assert "are left out:" not in drawn
    odd = Check(
        name="item_id is an id", severity="warning", passed=False, detail="'<NULL>' in line 7"
    )
    profile = msgspec.structs.replace(
        run.profile, checks=(odd,), dropped={"missing": 1_234, "duplicates": 2}
    )
    shown = page_of(msgspec.structs.replace(run, profile=profile))
    head, _, rest = shown.partition("The networks compared")
    assert "<b>Warning</b> item_id is an id: &#39;&lt;NULL&gt;&#39; in line 7." in head
    assert (
        "1,236 rows of the file are left out: 1,234 with a code for no rating, "
        "2 that repeat a user and an item." in rest
    )


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


def test_how_the_data_were_read_is_said(run: Report) -> None:
    layout = Layout(
        kind="text",
        delimiter=";",
        encoding="latin-1",
        columns={"user": 0, "item": 2, "rating": 1},
        names=("User-ID", "Stars<", "ISBN"),
    )
    profile = msgspec.structs.replace(run.profile, layout=layout)
    shown = page_of(msgspec.structs.replace(run, profile=profile))
    assert (
        "read as text with semicolons between columns, a header, in latin-1: user is User-ID, item is ISBN, "
        "rating is Stars&lt;."
    ) in shown
