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

import pytest

from mf_airflow.embedded.process import free_ports
from mf_airflow.monitoring import notifications
from mf_airflow.monitoring.notifications import Message
from tests.mf_airflow import mailbox
from tests.mf_airflow.mailbox import Posts

RUN = "scheduled__2026-11-29T00:00:00+00:00"
URL = "http://localhost:8080/dags/movielens_mf/runs/scheduled__2026-11-29T00%3A00%3A00%2B00%3A00"
SECRET = "T0-very-secret"
MESSAGE = Message(
    event="run_failed",
    title="movielens_mf failed: train_mlp",
    dag_id="movielens_mf",
    run_id=RUN,
    failed={"train_mlp": "TrainingDiverged: the loss of epoch 3 is <nan> & stays so"},
    url=URL,
)


class TaskInstance:
    """Answer what a task instance of Airflow answers to a callback."""

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
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


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
    assert json.loads(posts.got["/hook?key=1"]) == {
        "event": "run_failed",
        "title": "movielens_mf failed: train_mlp",
        "dag_id": "movielens_mf",
        "run_id": RUN,
        "failed": {"train_mlp": "TrainingDiverged: the loss of epoch 3 is <nan> & stays so"},
        "url": URL,
    }


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
def test_a_password_is_given_under_tls(scheme: str, tls: str, trusted: Path) -> None:
    with mailbox.mails(tls, trusted) as server:
        notifications.send(
            MESSAGE, mail(server.port, scheme, account=f"me%40example.org:{SECRET}@")
        )
    [given] = [command for command in server.commands if command.startswith("AUTH PLAIN ")]
    decoded = base64.b64decode(given.removeprefix("AUTH PLAIN ")).decode()
    assert decoded == f"\0me@example.org\0{SECRET}"
    assert len(server.letters) == 1


@pytest.mark.parametrize(("scheme", "tls"), [("smtps", "first"), ("smtp", "starttls")])
def test_a_mail_server_that_nobody_vouches_for_gets_nothing(
    scheme: str, tls: str, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mailbox.mails(tls, certificate) as server:
        notifications.send(MESSAGE, mail(server.port, scheme, account=f"me:{SECRET}@"))
    assert server.letters == []
    assert not [command for command in server.commands if command.upper().startswith("AUTH")]
    assert len(caplog.messages) == 1


def test_if_nothing_is_configured_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    notifications.send(MESSAGE, {})
    notifications.send(MESSAGE, dict.fromkeys(("MF_NOTIFY_WEBHOOK", "MF_NOTIFY_SLACK"), ""))
    assert not caplog.records


def test_addresses_without_a_mail_server_are_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notifications.send(MESSAGE, {"MF_NOTIFY_EMAIL": "ops@example.org"})
    assert caplog.messages == [
        "e-mail needs both MF_NOTIFY_EMAIL and MF_NOTIFY_SMTP; one is not set"
    ]


def test_a_webhook_that_is_dead_or_refuses_keeps_no_other_message_back(
    posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}/{SECRET}"
    notifications.send(MESSAGE, {"MF_NOTIFY_WEBHOOK": dead, "MF_NOTIFY_SLACK": posts.base + "/T0"})
    assert list(posts.got) == ["/T0"]
    assert caplog.messages == ["could not deliver by MF_NOTIFY_WEBHOOK: Connection refused"]


def test_a_redirect_is_a_failure_and_is_not_followed(
    posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    posts.status["/moved"] = 302
    notifications.send(MESSAGE, {"MF_NOTIFY_WEBHOOK": posts.base + "/moved"})
    assert list(posts.got) == ["/moved"]
    assert caplog.messages == ["could not deliver by MF_NOTIFY_WEBHOOK: it answered 302"]


def test_no_log_shows_where_a_message_was_to_go_or_a_password(
    posts: Posts, trusted: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    with mailbox.mails("first", trusted, accepts=False) as server:
        notifications.send(MESSAGE, mail(server.port, "smtps", account=f"me:{SECRET}@"))
    notifications.send(MESSAGE, mail(0, "imap", account=f"me:{SECRET}@"))
    assert len([record for record in caplog.records if record.name == notifications.log.name]) == 14
    assert "it answered 535" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET.lower() not in caplog.text


def test_a_failed_task_keeps_the_beginning_of_its_error_which_says_what_was_wrong() -> None:
    ti = TaskInstance({}, {})
    error = "InvalidDataset: 2 rules are broken:\n- rating is finite\n- no pair twice " + "x" * 600
    notifications.keep_error({"ti": ti, "exception": ValueError(error)})
    kept = "InvalidDataset: 2 rules are broken: - rating is finite - no pair twice "
    assert ti.errors["this"].startswith(kept)
    assert len(ti.errors["this"]) == 500


def test_a_task_that_was_killed_keeps_no_error() -> None:
    ti = TaskInstance({}, {})
    notifications.keep_error({"ti": ti})
    assert ti.errors == {}


def test_a_message_on_a_failed_run_names_the_tasks_that_failed_and_their_errors(
    messages: list[Message],
) -> None:
    ti = TaskInstance(
        {
            "train_mlp": "failed",
            "evaluate_mlp": "upstream_failed",
            "train_linear": "success",
            "train_resnet": "failed",
        },
        {"train_mlp": "TrainingDiverged: no"},
    )
    dag = SimpleNamespace(dag_id="movielens_mf")
    notifications.run_failed({"dag": dag, "run_id": RUN, "ti": ti, "reason": "task_failure"})
    assert messages == [
        Message(
            event="run_failed",
            title="movielens_mf failed: train_mlp, train_resnet",
            dag_id="movielens_mf",
            run_id=RUN,
            failed={
                "train_mlp": "TrainingDiverged: no",
                "train_resnet": "it ended without an error; see its log",
            },
            url=URL,
        )
    ]


def test_a_message_on_a_failed_run_is_sent_even_if_airflow_knows_little(
    messages: list[Message],
) -> None:
    dag = SimpleNamespace(dag_id="movielens_mf")
    notifications.run_failed({"dag": dag, "run_id": RUN, "reason": "timed_out"})
    assert [message.title for message in messages] == ["movielens_mf failed: timed_out"]


def test_a_message_on_a_late_run_says_when_it_was_due(messages: list[Message]) -> None:
    due = datetime(2026, 11, 29, 12, tzinfo=UTC)
    notifications.deadline_missed(
        {
            "dag_run": {"dag_id": "movielens_mf", "dag_run_id": RUN, "state": "running"},
            "deadline": {"id": "1", "deadline_time": due},
        }
    )
    [message] = messages
    assert message.event == "deadline_missed"
    assert message.title == f"movielens_mf is late: it was due at {due}"
    assert message.text == f"{message.title}\nrun {RUN}\n{URL}"


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_run_that_has_ended_is_not_late(messages: list[Message], state: str) -> None:
    run = {"dag_id": "movielens_mf", "dag_run_id": RUN, "state": state}
    notifications.deadline_missed(
        {"dag_run": run, "deadline": {"id": "1", "deadline_time": "then"}}
    )
    assert messages == []
