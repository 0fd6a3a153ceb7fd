from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mf_airflow.embedded import stack
from mf_airflow.embedded.process import free_ports


def test_the_ui_stays_at_the_port_where_it_was_found_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [usual] = free_ports(1)
    monkeypatch.setattr(stack, "UI_PORT", usual)
    noted = tmp_path / "ui-port"
    assert stack.choose_ui_port(noted) == (usual, usual)
    with socket.create_server(("127.0.0.1", usual)):
        other, expected = stack.choose_ui_port(noted)
    assert (other != usual, expected) == (True, usual)
    assert stack.choose_ui_port(noted) == (other, other)
    with socket.create_server(("127.0.0.1", other)):
        assert stack.choose_ui_port(noted) == (usual, other)


@pytest.mark.parametrize("broken", ["", "none", "99999"])
def test_a_note_of_the_port_that_is_no_port_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    [usual] = free_ports(1)
    monkeypatch.setattr(stack, "UI_PORT", usual)
    (tmp_path / "ui-port").write_text(broken)
    assert stack.choose_ui_port(tmp_path / "ui-port")[0] == usual
