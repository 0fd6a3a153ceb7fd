from __future__ import annotations

import io
import json
import logging

import pytest
from rich.console import Console
from rich.table import Table

from mftasks import terminal

HOSTILE = [
    "film [/x] end",
    "[bold]loud[/bold]",
    "[link=http://evil]x[/link]",
    "root:x:0:0",
    "a\x1b[31mred",
    "a\x9b31mred",
    "turned \u202eround",
    "two\nlines",
]


def shown(value: object) -> str:
    file = io.StringIO()
    Console(file=file, width=200, force_terminal=True).print(value)
    return file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_is_shown_as_it_is(text: str) -> None:
    plain = shown(terminal.plain(text))
    kept = text.replace("\n", r"\n").encode("unicode_escape").decode().replace(r"\\n", r"\n")
    assert plain == f"{kept}\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_json_stays_json_and_moves_no_cursor(text: str) -> None:
    printed = terminal.json(json.dumps({"name": text}, ensure_ascii=False).encode()).plain
    assert json.loads(printed) == {"name": text}
    assert terminal.printable(printed) == printed


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_of_a_table_is_shown_as_it_is(text: str) -> None:
    table = Table("item")
    table.add_row(terminal.plain(text))
    visible = [line for line in shown(table).splitlines() if "│" in line]
    assert len(visible) == 1
    assert "\x9b" not in visible[0]
    assert "\u202e" not in visible[0]


def test_letters_of_every_script_stay() -> None:
    text = "Амели · 千と千尋 · ارگو · naïve\ttabs\nlines 🎬"
    assert terminal.printable(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_an_error_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_error(f"InvalidPlan: data set {text} is not there")
    assert capsys.readouterr().err == (
        f"error InvalidPlan: data set {terminal.printable(text)} is not there\n"
    )


def test_a_log_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        terminal.log_to_stderr()
        logging.getLogger("mftasks").info("item %s", "a\x1b[31m")
        assert capsys.readouterr().err.endswith("item a\\x1b[31m\n")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
