"""Notify people of a run that failed or is late, at the addresses in the environment; none by default.

MF_NOTIFY_WEBHOOK  an http or https URL, which gets each message as JSON
MF_NOTIFY_SLACK    the URL of an incoming webhook of Slack
MF_NOTIFY_EMAIL    addresses separated by commas; the first is also the sender
MF_NOTIFY_SMTP     their mail server: smtp://user:password@host:port, or smtps:// if TLS comes first

Airflow calls `run_failed` in its DAG processor, `deadline_missed` on a worker of the default queue, and
`keep_error` in the task's own process. What cannot be delivered is logged, without its address, and lost.

Addresses are secrets, and messages about runs must reach people behind a proxy. So HTTP is urllib's: httpx
and requests log the URL of each request. And mail is smtplib's: the hook of Airflow's SMTP provider sends a
password without TLS if the server offers none.
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
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib import request
from urllib.error import URLError
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


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What people read about a run; `failed` maps each failed task to its error."""

    event: str
    title: str
    dag_id: str
    run_id: str
    failed: dict[str, str] = {}
    url: str

    @property
    def text(self) -> str:
        """Return the whole message as a person reads it."""
        errors = map(": ".join, self.failed.items())
        return "\n".join([self.title, *errors, f"run {self.run_id}", self.url])


def keep_error(context: Context) -> None:
    """Keep the beginning of a task's error for `run_failed`; the failure callback of every task."""
    words = str(context.get("exception") or "").split()
    if words:
        context["ti"].xcom_push(key=ERROR, value=" ".join(words)[:LONGEST])


def run_failed(context: Context) -> None:
    """Notify people that a run failed, in which tasks, and why; the failure callback of the DAG."""
    failed: dict[str, str] = {}
    try:
        failed = _read_failed(context["ti"])
    except Exception as error:  # whatever it is: people must hear that the run failed
        log.warning("cannot find out which tasks failed: %s", type(error).__name__)
    why = ", ".join(failed) or context.get("reason") or "see its tasks"
    _notify("run_failed", context["dag"].dag_id, context["run_id"], f"failed: {why}", failed)


def deadline_missed(context: Mapping[str, Any]) -> None:
    """Notify people that a run is late, unless it has ended; `context` holds the run as REST shows it."""
    run, due = context["dag_run"], context["deadline"]["deadline_time"]
    if run["state"] not in ENDED:  # Airflow keeps the deadline of a run that failed, or was marked
        late = f"is late: it was due at {due}"
        _notify("deadline_missed", run["dag_id"], run["dag_run_id"], late)


def send(message: Message, environment: Mapping[str, str] = os.environ) -> None:
    """Send a message to every address in the environment; log what cannot be delivered."""
    webhook, slack, email, smtp = (
        environment.get(f"MF_NOTIFY_{name}", "") for name in ("WEBHOOK", "SLACK", "EMAIL", "SMTP")
    )
    if webhook:
        _try("MF_NOTIFY_WEBHOOK", partial(_post, webhook, message))
    if slack:
        text = html.escape(message.text, quote=False)  # Slack escapes as HTML does: & < >
        _try("MF_NOTIFY_SLACK", partial(_post, slack, {"text": text}))
    if email and smtp:
        _try("MF_NOTIFY_SMTP", partial(_mail, smtp, email, message))
    elif email or smtp:
        log.warning("e-mail needs both MF_NOTIFY_EMAIL and MF_NOTIFY_SMTP; one is not set")


def _notify(
    event: str, dag_id: str, run_id: str, what: str, failed: Mapping[str, str] | None = None
) -> None:
    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    send(
        Message(
            event=event,
            title=f"{dag_id} {what}",
            dag_id=dag_id,
            run_id=run_id,
            failed=dict(failed or {}),
            url=f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}",
        )
    )


def _read_failed(ti: Any) -> dict[str, str]:
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    failed = sorted(task for task, state in states.items() if state == "failed")
    unknown = "it ended without an error; see its log"
    return {
        task: ti.xcom_pull(task_ids=task, key=ERROR, map_indexes=-1) or unknown for task in failed
    }


def _try(name: str, deliver: Callable[[], None]) -> None:
    try:
        deliver()
    except Exception as error:  # a callback that fails helps nobody
        log.warning("could not deliver by %s: %s", name, _explain(error))


def _explain(error: Exception) -> str:
    """Return what went wrong, without what the error quotes: it may be an address with a password."""
    if code := getattr(error, "code", getattr(error, "smtp_code", None)):
        return f"it answered {code}"
    cause = error.reason if isinstance(error, URLError) else error
    return getattr(cause, "strerror", None) or type(cause).__name__


class _Unredirected(request.HTTPRedirectHandler):
    """What makes a redirect an error: what is sent after one is not the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: object) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise OSError(None, "it is neither http nor https")
    headers = {"Content-Type": "application/json"}
    posted = request.Request(url, msgspec.json.encode(body), headers)
    request.build_opener(_Unredirected).open(posted, timeout=SECONDS).close()


def _mail(server: str, to: str, message: Message) -> None:
    """Send a message by SMTP; a password is sent under TLS only."""
    letter = EmailMessage()
    letter["Subject"] = message.title
    letter["From"] = to.partition(",")[0].strip()
    letter["To"] = to
    letter.set_content(message.text)
    at, trusted = urlsplit(server), ssl.create_default_context()
    if at.scheme not in ("smtp", "smtps"):
        raise OSError(None, "it is neither smtp nor smtps")
    kind = smtplib.SMTP if at.scheme == "smtp" else partial(smtplib.SMTP_SSL, context=trusted)
    with kind(at.hostname or "", at.port or 0, socket.gethostname(), timeout=SECONDS) as session:
        session.ehlo()
        if at.scheme == "smtp" and session.has_extn("starttls"):
            session.starttls(context=trusted)
        if at.username:
            if not isinstance(session.sock, ssl.SSLSocket):
                raise OSError(None, "it offers no TLS, and a password is sent under TLS only")
            session.login(unquote(at.username), unquote(at.password or ""))
        session.send_message(letter)
