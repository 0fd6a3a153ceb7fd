"""Tell people of a run that failed or is late, wherever the environment says; nowhere by default.

MF_NOTIFY_WEBHOOK  an http or https URL, which gets each message as JSON
MF_NOTIFY_SLACK    the URL of an incoming webhook of Slack
MF_NOTIFY_EMAIL    addresses, with commas between; the first is the sender, too
MF_NOTIFY_SMTP     their mail server: smtp://user:password@host:port, or smtps:// where TLS comes first

Airflow calls `run_failed` in its DAG processor, `deadline_missed` on a worker of the default queue, and
`keep_error` where the task ran. What cannot be delivered is logged, without its address, and lost.
"""

from __future__ import annotations

import html
import logging
import os
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit

import msgspec
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ENDED = ("success", "failed")
ERROR = "error"
LONGEST = 500
SECONDS = 10.0
HANDLERS = (
    request.ProxyHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPErrorProcessor,
    request.HTTPDefaultErrorHandler,
)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what is told of a run: `failed` maps each failed task to the last line of its error."""

    event: str
    title: str
    dag_id: str
    run_id: str
    failed: dict[str, str] = {}
    url: str

    @property
    def text(self) -> str:
        """Return the whole message as a person reads it."""
        said = map(": ".join, self.failed.items())
        return "\n".join([self.title, *said, f"run {self.run_id}", self.url])


def keep_error(context: Context) -> None:
    """Keep the last line of a task's error for `run_failed`; the failure callback of every task."""
    lines = str(context.get("exception") or "").strip().splitlines()
    if lines:
        context["ti"].xcom_push(key=ERROR, value=lines[-1].strip()[:LONGEST])


def run_failed(context: Context) -> None:
    """Tell that a run failed, of which tasks, and why; the failure callback of the DAG."""
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    failed: dict[str, str] = {}
    try:
        failed = _failed(context["ti"])
    except Exception as error:  # whatever it is, that the run failed must be told
        log.warning("cannot tell which tasks of %s failed: %s", run_id, type(error).__name__)
    why = ", ".join(failed) or context.get("reason") or "see its tasks"
    title, url = f"{dag_id} failed: {why}", _url(dag_id, run_id)
    tell(
        Message(
            event="run_failed", title=title, dag_id=dag_id, run_id=run_id, failed=failed, url=url
        )
    )


def deadline_missed(context: Mapping[str, Any]) -> None:
    """Tell that a run is late, unless it has ended; Airflow hands over the run as REST would."""
    if context["dag_run"]["state"] in ENDED:
        return  # one that failed keeps its deadline, and so does one that a person marked
    dag_id, run_id = context["dag_run"]["dag_id"], context["dag_run"]["dag_run_id"]
    due = context["deadline"]["deadline_time"]
    title = f"{dag_id} is late: it was due at {due}"
    url = _url(dag_id, run_id)
    tell(Message(event="deadline_missed", title=title, dag_id=dag_id, run_id=run_id, url=url))


def tell(message: Message, environment: Mapping[str, str] = os.environ) -> None:
    """Send a message wherever the environment says; log where that is not possible."""
    webhook, slack, email, smtp = (
        environment.get(f"MF_NOTIFY_{name}", "") for name in ("WEBHOOK", "SLACK", "EMAIL", "SMTP")
    )
    if webhook:
        _try("MF_NOTIFY_WEBHOOK", lambda: _post(webhook, message))
    if slack:
        text = html.escape(message.text, quote=False)  # Slack escapes as HTML does: & < >
        _try("MF_NOTIFY_SLACK", lambda: _post(slack, {"text": text}))
    if email and smtp:
        _try("MF_NOTIFY_SMTP", lambda: _mail(smtp, email, message))
    elif email or smtp:
        log.warning("e-mail needs both MF_NOTIFY_EMAIL and MF_NOTIFY_SMTP; one is not set")


def _failed(ti: Any) -> dict[str, str]:
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    failed = sorted(task for task, state in states.items() if state == "failed")
    unsaid = "it ended without a word; see its log"
    return {
        task: ti.xcom_pull(task_ids=task, key=ERROR, map_indexes=-1) or unsaid for task in failed
    }


def _url(dag_id: str, run_id: str) -> str:
    base = conf.get("api", "base_url", fallback="http://localhost:8080")
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def _try(name: str, send: Callable[[], None]) -> None:
    try:
        send()
    except Exception as error:  # a callback that fails would help nobody
        log.warning("could not deliver by %s: %s", name, _reason(error))


def _reason(error: Exception) -> str:
    """Say what went wrong, without what the error quotes: it may be an address with a password."""
    match error:
        case HTTPError():
            return f"it answered {error.code}"
        case URLError(reason=Exception() as reason):
            return _reason(reason)
        case smtplib.SMTPResponseException():
            return f"it answered {error.smtp_code}"
        case OSError(strerror=str() as said):
            return said
        case _:
            return type(error).__name__


def _post(url: str, body: object) -> None:
    """Post JSON; a redirect is an error, as what follows one is not the message."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise OSError(None, "it is neither http nor https")
    opener = request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    headers = {"Content-Type": "application/json"}
    with opener.open(request.Request(url, msgspec.json.encode(body), headers), timeout=SECONDS):
        pass


def _mail(server: str, to: str, message: Message) -> None:
    """Send a message by SMTP; a password is given away under TLS only."""
    letter = EmailMessage()
    letter["Subject"] = message.title
    letter["From"] = to.partition(",")[0].strip()
    letter["To"] = to
    letter.set_content(message.text)
    at = urlsplit(server)
    with _session(at.scheme, at.hostname or "", at.port or 0) as session:
        if at.username:
            if not isinstance(session.sock, ssl.SSLSocket):
                raise OSError(None, "it offers no TLS, under which alone a password is sent")
            session.login(unquote(at.username), unquote(at.password or ""))
        session.send_message(letter)


def _session(scheme: str, host: str, port: int) -> smtplib.SMTP:
    own_name, trusted = socket.gethostname(), ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, own_name, timeout=SECONDS, context=trusted)
    if scheme != "smtp":
        raise OSError(None, "it is neither smtp nor smtps")
    session = smtplib.SMTP(host, port, own_name, timeout=SECONDS)
    session.ehlo()
    if session.has_extn("starttls"):
        session.starttls(context=trusted)
    return session
