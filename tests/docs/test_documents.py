"""What the documents state about the code is true: names, tables, links, commands and examples."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from mftasks import errors, networks, training
from mftasks.data.arrays import Part
from mftasks.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()
FAILURES = (ROOT / "docs/when-something-fails.md").read_text()
ALERTS = (ROOT / "docs/metrics-and-alerts.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def rows(text: str, *, first: str) -> list[list[str]]:
    """Return the cells of the rows of the table whose head begins with the cell `first`."""
    [table] = re.findall(rf"^\| {re.escape(first)} \|.*\n\|[-| ]+\|\n((?:\|.*\n?)+)", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def test_the_readme_can_be_read_in_one_go() -> None:
    lines = README.splitlines()
    assert len(lines) <= 200
    assert [line for line in lines if len(line) > 120] == []


def test_prose_is_at_most_120_wide(page: Path) -> None:
    lines = prose(page.read_text()).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.*)", linked.read_text(), re.M) if anchor else []
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in slugs, target


def test_commands_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    used = re.findall(r"(?:`|^|&& )make ([a-z-]+)", page.read_text(), re.M)
    assert set(used) <= targets


def test_each_page_has_one_question_as_its_title() -> None:
    for page in ROOT.glob("docs/*.md"):
        titles = re.findall(r"^# (.*)", prose(page.read_text()), re.M)
        assert [title[-1] for title in titles] == ["?"], page


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#]+)", README))


def test_every_setting_is_listed() -> None:
    listed = [row[0].strip("`") for row in rows(README, first="variable")]
    assert listed == [f"MF_{name.upper()}" for name in Settings.__struct_fields__]


def test_every_exit_code_is_explained() -> None:
    def of_all(kind: type[errors.MfError]) -> set[int]:
        return {kind.exit_code}.union(*map(of_all, kind.__subclasses__()))

    explained = [int(row[0]) for row in rows(FAILURES, first="exit")]
    assert len(explained) == len(set(explained))
    assert set(explained) == of_all(errors.MfError)


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((ROOT / "docker/prometheus/rules.yaml").read_text())
    alerts = {rule.get("alert") for group in rules["groups"] for rule in group["rules"]} - {None}
    explained = [row[0] for row in rows(ALERTS, first="alert")]
    assert set(re.findall(r"`(\w+)`", " ".join(explained))) == alerts


def test_every_kind_of_metric_is_explained() -> None:
    mappings = yaml.safe_load((ROOT / "docker/statsd/mappings.yaml").read_text())["mappings"]
    kinds = {mapping["name"].split("$")[0] for mapping in mappings}
    explained = [row[0].strip("`") for row in rows(ALERTS, first="in Prometheus")]
    for kind in {kind for kind in kinds if kind.startswith("mf_")}:
        assert any(name.startswith(kind) for name in explained), kind


def test_every_room_is_on_the_map() -> None:
    listed = {
        row[0].strip("`") for row in rows((ROOT / "ARCHITECTURE.md").read_text(), first="room")
    }
    rooms = {str(init.parent.relative_to(ROOT)) for init in ROOT.glob("mftasks/*/__init__.py")}
    assert listed == rooms | {"plugins/mf_airflow"}


def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:mftasks|plugins|docker|tests|tools|benchmarks|docs)/[\w./-]*\w)`", page.read_text()
    )
    examples = {"mftasks/networks/leaky.py"}
    assert [name for name in named if name not in examples and not (ROOT / name).exists()] == []


@pytest.fixture
def leaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[networks.Network]:
    """Load the network of the page from a folder of its own, beside the others."""
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/add-a-network.md").read_text(), re.S)
    (tmp_path / "leaky.py").write_text(code)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    yield networks.load("leaky")
    networks._import.cache_clear()
    del sys.modules["mftasks.networks.leaky"]


def test_the_network_of_the_page_trains_with_a_parameter_of_its_own(
    leaky: networks.Network, tiny_ratings: Part
) -> None:
    sizes = networks.Sizes(60, 40, 3.5)
    config = msgspec.structs.replace(
        leaky.PRESETS["default"], epochs=20, batch_size=50, params={"slope": 0.5}
    )
    fitted = training.fit(config, training.Data(tiny_ratings, None, sizes, 1.0, 5.0))
    assert fitted.history[-1].train_rmse < 0.9 * fitted.history[0].train_rmse


def test_the_dag_of_the_page_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/your-ratings.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.S)
    defined: dict[str, Any] = {}
    exec(compile(code, __file__, "exec"), defined)
    assert defined["dag"].dag_id == "books_mf"
    assert defined["dag"].params["networks"] == ["mlp"]
