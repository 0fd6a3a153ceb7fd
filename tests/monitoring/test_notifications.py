"""Prometheus's alerts reach people through a real Alertmanager, of Debian's package prometheus-alertmanager."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.mf_airflow import mailbox
from tests.mf_airflow.mailbox import Mails, Posts
from tests.monitoring import alertmanager, exporter, prometheus
from tests.waiting import wait

MAPPINGS = Path(__file__).parents[2] / "docker" / "statsd" / "mappings.yaml"
SUMMARY = "The data fail 2 checks, so no network was trained"
WHAT_TO_DO = "Fix the data at their source"
BAD_DATA = "airflow.mf.data.checks_failed,severity=error:2|g"
FAILED_RUN = "airflow.dagrun.duration.failed,dag_id=movielens_mf:9000|ms"
TO = "sender@example.org, reader@example.org"


def test_an_alert_is_sent_everywhere_and_a_failed_run_is_left_to_airflow(tmp_path: Path) -> None:
    (tmp_path / "prometheus").mkdir()
    with (
        mailbox.posts() as posts,
        mailbox.mails() as mails,
        exporter.running(MAPPINGS) as stand_in,
        alertmanager.running(tmp_path / "alertmanager", **_everywhere(posts, mails)) as address,
        prometheus.running(
            tmp_path / "prometheus", f"127.0.0.1:{stand_in.http_port}", alertmanager=address
        ) as server,
    ):  # fmt: skip
        wait(server.alertmanagers, 30, server.targets)
        for line in (FAILED_RUN, BAD_DATA):
            stand_in.exporter.take(line)
        wait(lambda: len(server.alerts()) == 2, 20, server.alerts)
        wait(
            lambda: bool(posts.got.keys() >= {"/hook", "/slack"} and mails.letters),
            100,
            lambda: (server.alerts(), posts.got, mails.commands),
        )
        sent = [json.loads(posts.got[path]) for path in ("/hook", "/slack")]
    assert [one["labels"]["alertname"] for one in sent[0]["alerts"]] == ["DataChecksFailed"]
    [attachment] = sent[1]["attachments"]
    assert attachment["title"] == SUMMARY
    assert WHAT_TO_DO in attachment["text"]
    [letter] = mails.letters
    assert f"Subject: {SUMMARY}" in letter
    assert f"To: {TO}" in letter


def _everywhere(posts: Posts, mails: Mails) -> dict[str, str]:
    return {
        "MF_NOTIFY_WEBHOOK": f"{posts.base}/hook",
        "MF_NOTIFY_SLACK": f"{posts.base}/slack",
        "MF_NOTIFY_EMAIL": TO,
        "MF_NOTIFY_SMTP": f"smtp://127.0.0.1:{mails.port}",
    }


def configure(folder: Path, **notify: str) -> tuple[dict[str, str], str]:
    """Return how mails are sent, and what the script says; Alertmanager has accepted it all."""
    with alertmanager.running(folder, **notify):
        path = folder / "run" / "alertmanager.yaml"
        assert path.stat().st_mode & 0o777 == 0o600
        people = yaml.safe_load(path.read_text())["receivers"][-1]
    [mail] = people.get("email_configs", [{}])
    return mail, (folder / "log").read_text()


def test_nobody_is_notified_by_default(tmp_path: Path) -> None:
    assert configure(tmp_path)[0] == {}


@pytest.mark.parametrize(
    ("server", "host", "tls"),
    [
        ("smtp://mail.example.org", "mail.example.org:25", False),
        ("smtp://us%40er:p%27a%5Css:w%C3%A9@mail.example.org:587", "mail.example.org:587", True),
        ("smtps://us%40er:p%27a%5Css:w%C3%A9@mail.example.org", "mail.example.org:465", False),
    ],
)
def test_a_password_is_sent_under_tls_alone(
    tmp_path: Path, server: str, host: str, tls: bool
) -> None:
    mail, _ = configure(tmp_path, MF_NOTIFY_EMAIL=TO, MF_NOTIFY_SMTP=server)
    assert (mail["smarthost"], mail["require_tls"]) == (host, tls)
    login = ("us@er", "p'a\\ss:wé") if "@" in server else ("", "")
    assert (mail["auth_username"], mail["auth_password"]) == login


@pytest.mark.parametrize(
    ("server", "complaint"),
    [("smtps://mail.example.org:2465", "on port 465 only"), ("mail:25", "must begin with smtp://")],
)
def test_an_unusable_mail_server_is_named_and_stops_nothing_else(
    tmp_path: Path, server: str, complaint: str
) -> None:
    mail, log = configure(tmp_path, MF_NOTIFY_EMAIL=TO, MF_NOTIFY_SMTP=server)
    assert mail == {}
    assert complaint in log
