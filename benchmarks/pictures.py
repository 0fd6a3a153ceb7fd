"""Take the pictures of the README: a run on the embedded stack, seen in Chromium.

make pictures
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from mf_airflow.embedded import results, stack, watch
from mf_airflow.embedded.environment import USER
from mf_airflow.embedded.process import free_ports
from mf_airflow.embedded.rest import DAG
from mftasks import settings
from mftasks.store.workspace import Workspace

CHROMIUM = "/usr/bin/chromium"
PICTURES = Path("docs")
DRAWN = "() => window.Bokeh?.documents.length && Bokeh.documents[0].is_idle"
SIZE = {"width": 1280, "height": 800}


def take() -> None:
    """Run the DAG once, and write docs/airflow.png, docs/report.png and docs/comparison.png."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        local = Path(folder)
        with stack.running(local / "local", port=free_ports(1)[0], scheduled=True) as running:
            run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            running.airflow.trigger(run_id, {})
            watch.follow(running, run_id, Console())
            os.environ.update(running.environment)
            published = results.copy_out(
                Workspace(settings.read()), running.airflow.store_run_id(run_id), local / "output"
            )
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                _picture_grid(browser, running, run_id)
                _picture_report(browser, published)
                browser.close()


def _picture_grid(browser: Browser, running: stack.Stack, run_id: str) -> None:
    """Picture the grid of the DAG in Airflow's UI, with the run's tasks."""
    page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
    page.goto(running.airflow.address)
    page.locator("input[name=username]").fill(USER)
    page.locator("input[name=password]").fill(running.secrets.password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "login" not in url)
    page.goto(f"{running.airflow.address}/dags/{DAG}/runs/{run_id}")
    page.get_by_role("button", name="Expand all task groups").click()
    page.get_by_text("train_resnet").nth(1).wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=PICTURES / "airflow.png")


def _picture_report(browser: Browser, published: Path) -> None:
    """Picture the head of the report, and the comparison of the networks alone."""
    page = _open(browser, published / "report.html")
    page.screenshot(path=PICTURES / "report.png")
    page = _open(browser, published / "comparison.html")
    page.locator("figure").first.screenshot(path=PICTURES / "comparison.png")


def _open(browser: Browser, file: Path) -> Page:
    page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
    page.goto(file.as_uri())
    page.wait_for_function(DRAWN)
    return page


if __name__ == "__main__":
    take()
