from __future__ import annotations

import base64
import email
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.policy import default
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mf_airflow.embedded.process import free_ports
from mf_airflow.monitoring import notifications
from mf_airflow.monitoring.notifications import Message
from tests.mf_airflow import mailbox
from tests.mf_airflow.mailbox import Posts

RUN = "scheduled__2026-11-29T00:00:00+00:00"
URL = "http://localhost:8080/dags/movielens_mf/runs/scheduled__2026-11-29T00%3A00%3A00%2B00%3A00"
SECRET = "T0-very-secret"
FIELDS = {
    "event": "run_failed",
    "title": "movielens_mf failed: train_mlp",
    "dag_id": "movielens_mf",
    "run_id": RUN,
    "failed": {"train_mlp": "TrainingDiverged: the loss of epoch 3 is <nan> & stays so"},
    "url": URL,
}
MESSAGE = Message(**FIELDS)


class TaskInstance:
    """A task instance as a callback sees it: the states and the errors of its run's tasks."""

    dag_id, run_id = "movielens_mf", RUN

    def __init__(self, states: dict[str, str], errors: dict[str, str]) -> None:
        self.states, self.errors = states, errors

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return {self.run_id: self.states}

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> str | None:
        assert (key, map_indexes) == ("error", -1)
        return self.errors.get(task_ids)

    def xcom_push(self, key: str, value: str) -> None:
        assert key == "error"
        self.errors["this"] = value


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def posts() -> Iterator[Posts]:
    with mailbox.posts() as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mailbox.certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    got: list[Message] = []
    monkeypatch.setattr(notifications, "send", got.append)
    return got


def mail(port: int, scheme: str = "smtp", account: str = "") -> dict[str, str]:
    return {
        "MF_NOTIFY_EMAIL": "ops@example.org, ml@example.org",
        "MF_NOTIFY_SMTP": f"{scheme}://{account}localhost:{port}",
    }


def test_a_webhook_gets_the_message_as_json(posts: Posts) -> None:
    notifications.send(MESSAGE, {"MF_NOTIFY_WEBHOOK": posts.base + "/hook?key=1"})
    assert json.loads(posts.got["/hook?key=1"]) == FIELDS


def test_slack_gets_it_as_text_that_it_takes_for_no_markup(posts: Posts) -> None:
    notifications.send(MESSAGE, {"MF_NOTIFY_SLACK": posts.base + "/services/T0"})
    assert json.loads(posts.got["/services/T0"])["text"].splitlines() == [
        "movielens_mf failed: train_mlp",
        "train_mlp: TrainingDiverged: the loss of epoch 3 is &lt;nan&gt; &amp; stays so",
        f"run {RUN}",
        URL,
    ]


def test_a_mail_server_without_tls_gets_a_letter_but_never_a_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with mailbox.mails() as server:
        notifications.send(MESSAGE, mail(server.port))
        assert not caplog.records
        notifications.send(MESSAGE, mail(server.port, account=f"me:{SECRET}@"))
    [letter] = server.letters
    read = email.message_from_string(letter, policy=default)
    assert read["From"] == "ops@example.org"
    assert read["To"] == "ops@example.org, ml@example.org"
    assert read["Subject"] == MESSAGE.title
    assert read.get_content().strip() == MESSAGE.text
    assert "rcpt TO:<ml@example.org>" in server.commands
    assert not [command for command in server.commands if command.upper().startswith("AUTH")]
    assert caplog.messages == [
        "could not deliver by MF_NOTIFY_SMTP: "
        "it offers no TLS, and a password is sent under TLS only"
    ]


@pytest.mark.parametrize(("scheme", "tls"), [("smtps", "first"), ("smtp", "starttls")])
def test_a_password_is_given_to_a_server_alone_whose_certificate_is_trusted(
    scheme: str,
    tls: str,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with mailbox.mails(tls, certificate) as server:
        address = mail(server.port, scheme, account=f"me%40example.org:{SECRET}@")
        notifications.send(MESSAGE, address)
        assert server.letters == []
        assert "AUTH" not in str(server.commands).upper()
        assert len(caplog.messages) == 1
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        notifications.send(MESSAGE, address)
    [given] = [command for command in server.commands if command.startswith("AUTH PLAIN ")]
    decoded = base64.b64decode(given.removeprefix("AUTH PLAIN ")).decode()
    assert decoded == f"\0me@example.org\0{SECRET}"
    assert len(server.letters) == 1


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ({}, []),
        (dict.fromkeys(("MF_NOTIFY_WEBHOOK", "MF_NOTIFY_SLACK"), ""), []),
        *(
            ({name: "x"}, ["e-mail needs both MF_NOTIFY_EMAIL and MF_NOTIFY_SMTP; one is not set"])
            for name in ("MF_NOTIFY_EMAIL", "MF_NOTIFY_SMTP")
        ),
    ],
)
def test_without_a_whole_address_nothing_is_sent_and_half_an_address_is_logged(
    given: dict[str, str], logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    notifications.send(MESSAGE, given)
    assert caplog.messages == logged


def test_a_webhook_that_is_dead_or_redirects_is_logged_and_keeps_no_other_message_back(
    posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    posts.status["/moved"] = 302
    dead = f"http://127.0.0.1:{free_ports(1)[0]}/{SECRET}"
    for webhook, why in ((dead, "Connection refused"), (f"{posts.base}/moved", "it answered 302")):
        caplog.clear()
        given = {"MF_NOTIFY_WEBHOOK": webhook, "MF_NOTIFY_SLACK": f"{posts.base}/T0"}
        notifications.send(MESSAGE, given)
        assert caplog.messages == [f"could not deliver by MF_NOTIFY_WEBHOOK: {why}"]
        assert posts.got.pop("/T0")
    assert list(posts.got) == ["/moved"]


def test_no_log_shows_where_a_message_was_to_go_or_a_password(
    posts: Posts,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    caplog.set_level(0)
    posts.status[f"/{SECRET}"] = 404
    for url in (
        f"{posts.base}/{SECRET}",
        f"ftp://{SECRET}/",
        SECRET,
        f"http://{SECRET}.invalid/",
        f"http://localhost:{SECRET}/",
        f"http://local host/{SECRET}",
    ):
        notifications.send(MESSAGE, {"MF_NOTIFY_WEBHOOK": url, "MF_NOTIFY_SLACK": url})
    with mailbox.mails("first", certificate, accepts=False) as server:
        notifications.send(MESSAGE, mail(server.port, "smtps", account=f"me:{SECRET}@"))
    notifications.send(MESSAGE, mail(0, "imap", account=f"me:{SECRET}@"))
    assert len([record for record in caplog.records if record.name == notifications.log.name]) == 14
    assert "it answered 535" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET.lower() not in caplog.text


def test_a_failed_task_keeps_the_beginning_of_its_error_and_a_killed_one_none() -> None:
    ti = TaskInstance({}, {})
    notifications.keep_error({"ti": ti})
    assert ti.errors == {}
    error = "InvalidDataset: 2 rules are broken:\n- rating is finite\n- no pair twice " + "x" * 600
    notifications.keep_error({"ti": ti, "exception": ValueError(error)})
    assert ti.errors["this"].startswith("InvalidDataset: 2 rules are broken: - rating is finite - ")
    assert len(ti.errors["this"]) == 500


STATES = {"train_mlp": "failed", "evaluate_mlp": "upstream_failed", "train_resnet": "failed"}
ERRORS = {"train_mlp": "TrainingDiverged: no"}
LATE = "movielens_mf is late: it was due at 2026-11-29 12:00:00+00:00"
FAILED = ERRORS | {"train_resnet": "it ended without an error; see its log"}


@pytest.mark.parametrize(
    ("known", "why", "failed"),
    [
        ({"ti": TaskInstance(STATES, ERRORS)}, "train_mlp, train_resnet", FAILED),
        ({"reason": "timed_out"}, "timed_out", {}),
        ({}, "see its tasks", {}),
    ],
)
def test_a_message_on_a_failed_run_has_what_airflow_knows_of_its_tasks(
    messages: list[Message], known: dict[str, Any], why: str, failed: dict[str, str]
) -> None:
    notifications.run_failed(
        {"dag": SimpleNamespace(dag_id="movielens_mf"), "run_id": RUN, **known}
    )
    title = f"movielens_mf failed: {why}"
    assert messages == [msgspec.structs.replace(MESSAGE, title=title, failed=failed)]


@pytest.mark.parametrize(
    ("state", "titles"), [("running", [LATE]), ("failed", []), ("success", [])]
)
def test_a_run_that_has_not_ended_is_late(
    messages: list[Message], state: str, titles: list[str]
) -> None:
    run = {"dag_id": "movielens_mf", "dag_run_id": RUN, "state": state}
    due = {"id": "1", "deadline_time": datetime(2026, 11, 29, 12, tzinfo=UTC)}
    notifications.deadline_missed({"dag_run": run, "deadline": due})
    changed = {"event": "deadline_missed", "failed": {}}
    assert messages == [
        msgspec.structs.replace(MESSAGE, title=title, **changed) for title in titles
    ]
