"""Fail a task so that its log shows what went wrong in lines that a narrow window shows whole."""

from __future__ import annotations

import logging
import textwrap
from typing import NoReturn

log = logging.getLogger(__name__)

WIDTH = 100


def fail(message: str, kind: type[Exception]) -> NoReturn:
    """Log `message`, then raise `kind`: Airflow's log cuts an exception, and adds frames of ours."""
    for line in message.splitlines():
        for part in textwrap.wrap(line, WIDTH):
            log.error("%s", part)
    raise kind(message) from None
