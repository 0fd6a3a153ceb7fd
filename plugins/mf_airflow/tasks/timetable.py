"""When a DAG runs by its schedule: a tick that nothing lived through is caught up, also the first one.

Before its first run, Airflow only looks forward: a host that is never up at that hour never retrains.
With a `start_date` it would run at once, whenever the DAG is deployed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.timetables.trigger import CronTriggerTimetable

if TYPE_CHECKING:
    from airflow.sdk.definitions.dag import ScheduleArg
    from pendulum import DateTime

NO_CRON = ("@once", "@continuous")


class CronSince(CronTriggerTimetable):
    """A cron schedule in UTC whose first tick is the first one after `since`."""

    def __init__(self, cron: str, *, since: datetime) -> None:
        super().__init__(cron, timezone="UTC")
        self._since = since

    @property
    def summary(self) -> str:
        """Return the schedule in words, as Airflow lists it: `At 00:00, only on Sunday`."""
        return self.description

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CronSince:
        return cls(data["expression"], since=datetime.fromisoformat(data["since"]))

    def serialize(self) -> dict[str, Any]:
        return {"expression": self._expression, "since": self._since.isoformat()}

    def _calc_first_run(self) -> DateTime:
        """Return the tick after which Airflow looks for the latest one that is due."""
        return self._align_to_next(pendulum.instance(self._since))


def make_timetable(schedule: ScheduleArg, file: str) -> ScheduleArg:
    """Return a cron `schedule` with ticks since `file` was deployed, and any other as it is."""
    if not isinstance(schedule, str) or schedule in NO_CRON or not Path(file).is_file():
        return schedule
    deployed = datetime.fromtimestamp(int(Path(file).stat().st_mtime), UTC)
    return CronSince(schedule, since=deployed)
