"""Register with Airflow what it would not find by itself."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from mf_airflow.tasks.deadline import Creation
from mf_airflow.tasks.timetable import CronSince


class MfPlugin(AirflowPlugin):
    """What deadlines refer to and schedules are made of, for all that make runs or read the DAG."""

    name = "movielens_mf"
    deadline_references = [Creation]
    timetables = [CronSince]
