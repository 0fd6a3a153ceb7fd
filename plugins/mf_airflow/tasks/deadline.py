"""When a run is late: so many hours after its creation, by the schedule or by a person.

MF_DEADLINE_HOURS  12 by default; 0 for never

With Airflow's own reference, DAGRUN_QUEUED_AT, 3.3.2 answers 500 to clearing any task of the run
(apache/airflow#70368), and a run that a person starts has no logical date: so there is a reference of our own.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from mf_airflow.monitoring import notifications
from mftasks.errors import InvalidPlan, quote

BY_DEFAULT = 12.0
LONGEST = 24.0 * 365


class Creation(BaseDeadlineReference):
    """The moment at which a run is created; Airflow asks for it then, and only then.

    Airflow's UI shows the name of the class: "Must complete within 12 hours of Creation".
    """

    def _evaluate_with(self, **_: Any) -> datetime:
        return datetime.now(UTC)


def read_deadline() -> DeadlineAlert | None:
    """Return when a run is late, and that people are notified then; None if it never is."""
    given = os.environ.get("MF_DEADLINE_HOURS") or str(BY_DEFAULT)
    try:
        hours = float(given)
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= LONGEST:
        raise InvalidPlan(
            f"MF_DEADLINE_HOURS cannot be {quote(given)}: it must be a number of hours from 0 (never) to {LONGEST:,.0f}"
        )
    if hours == 0:
        return None
    return DeadlineAlert(
        reference=Creation(),
        interval=timedelta(hours=hours),
        callback=SyncCallback(notifications.deadline_missed),
    )
