from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mftasks.records import TrainResult
from tests import programs
from tests.finished_run import NETWORKS, RUN, reported_run

PAGES = ("report.html", "comparison.html")
DRAWN = "() => window.Bokeh?.documents.length && Bokeh.documents[0].is_idle"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder with a run's pages."""
    made = tmp_path_factory.mktemp("pages")
    reported_run(made)
    return made / "store" / "runs" / RUN


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=programs.path("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, folder: Path) -> Iterator[Open]:
    """Give a function that opens a page offline; whatever it complains about fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_it(name: str, width: int = 1280, scheme: Any = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on(
            "request",
            lambda sent: complaints.append(sent.url) if sent.url.startswith("http") else None,
        )
        page.goto((folder / name).as_uri())
        page.wait_for_function(DRAWN)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def visible(page: Page) -> int:
    """Return how many renderers of the comparison are shown."""
    return int(
        page.evaluate(
            "() => Bokeh.documents[0].roots()[0].renderers.filter((one) => one.visible).length"
        )
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_works_offline_and_without_complaint(open_page: Open, name: str) -> None:
    page = open_page(name)
    assert page.locator("h1").inner_text().startswith(("Best network: ", "No network beats "))
    plots = page.locator(".plot canvas").count()
    assert plots > page.locator(".plot").count()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_need_not_scroll_sideways(open_page: Open, name: str) -> None:
    page = open_page(name, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_click_on_the_legend_hides_a_network_and_shows_it_again(open_page: Open) -> None:
    page = open_page("comparison.html")
    everything = visible(page)
    entry = page.locator(".plot .bk-Legend .bk-item", has_text=NETWORKS[0])
    entry.click()
    assert visible(page) == everything - 6
    entry.click()
    assert visible(page) == everything


def test_pointing_at_an_epoch_tells_its_figures(open_page: Open, folder: Path) -> None:
    page = open_page("comparison.html")
    epoch = reported_epoch(folder)
    place = page.evaluate(
        """([x, y]) => {
            const view = Bokeh.index.find_one(Bokeh.documents[0].roots()[0]);
            const box = view.canvas_view.el.getBoundingClientRect();
            const frame = view.frame;
            return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)];
        }""",
        [epoch.seconds, epoch.valid_rmse],
    )
    page.mouse.move(*place)
    for figure in (epoch.valid_rmse, epoch.train_rmse):
        page.locator(".bk-Tooltip", has_text=f"{figure:.4f}").wait_for()


def reported_epoch(folder: Path) -> Any:
    """Return an epoch of the first network that is not the best and not the last."""
    record = (folder / NETWORKS[0] / "train.json").read_bytes()
    result = msgspec.json.decode(record, type=TrainResult)
    return next(
        epoch for epoch in reversed(result.history[:-1]) if epoch.epoch != result.best_epoch
    )


def test_plots_follow_a_dark_scheme(open_page: Open) -> None:
    colour = "() => Bokeh.documents[0].roots()[0].below[0].major_label_text_color"
    assert open_page("comparison.html").evaluate(colour) == "#3b4148"
    dark = open_page("comparison.html", scheme="dark")
    assert dark.evaluate(colour) == "#c9cfd6"
    dark.emulate_media(color_scheme="light")
    dark.wait_for_function(f"() => ({colour})() === '#3b4148'")


def test_every_figure_of_an_epoch_is_in_a_table_too(open_page: Open, folder: Path) -> None:
    page = open_page("comparison.html")
    epoch = reported_epoch(folder)
    tables = " ".join(page.locator("details").all_text_contents())
    assert f"{epoch.train_rmse:.4f}" in tables
    assert f"{epoch.valid_rmse:.4f}" in tables


def test_every_picture_is_described_in_words(open_page: Open) -> None:
    page = open_page("report.html")
    for picture in page.locator(".plot").all():
        assert len(picture.get_attribute("aria-label") or "") > 15
