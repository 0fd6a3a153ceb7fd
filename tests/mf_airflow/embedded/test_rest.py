from __future__ import annotations

import json

import pytest

from mf_airflow.embedded.rest import Airflow, RequestRefused
from tests.web import Answer, Web

PATH = "/api/v2/version"


def test_a_token_that_has_expired_is_asked_for_again(site: Web) -> None:
    expired = Answer(status=401)
    site.serve(PATH, expired, Answer(b"1"), Answer(b"2"), expired, Answer(b"3"))
    tokens = [Answer(json.dumps({"access_token": name}).encode(), 201) for name in ("a", "b")]
    site.serve("/auth/token", *tokens)
    with Airflow(site.base) as airflow:
        airflow.log_in("admin", "secret")
        assert [airflow.ask("GET", PATH) for _ in range(3)] == [1, 2, 3]
    sent = list(zip(site.asked, site.authorizations, strict=True))
    assert sent[2:5] == [(PATH, "Bearer a"), (PATH, "Bearer a"), (PATH, "Bearer a")]
    assert sent[5:] == [("/auth/token", None), (PATH, "Bearer b")]
    assert json.loads(site.bodies[-1]) == {"username": "admin", "password": "secret"}


def test_a_wrong_password_is_refused_with_airflows_answer(site: Web) -> None:
    site.serve(PATH, Answer(status=401))
    site.serve("/auth/token", Answer(b"Invalid credentials", 401))
    with Airflow(site.base) as airflow:
        airflow.log_in("admin", "guessed")
        with pytest.raises(RequestRefused, match=r"401 to POST /auth/token: Invalid credentials"):
            airflow.ask("GET", PATH)


def test_a_note_that_somebody_has_written_stays(site: Web) -> None:
    run = "/api/v2/dags/films/dagRuns/one"
    site.serve(run, Answer(b'{"note": "mine"}'))
    with Airflow(site.base) as airflow:
        airflow.note("films", "one", "RMSE 0.9")
    assert site.asked == [run]
