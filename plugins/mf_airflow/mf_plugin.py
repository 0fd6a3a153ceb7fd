"""Register with Airflow what it would not find by itself."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from mf_airflow.tasks.deadline import Creation


class MfPlugin(AirflowPlugin):
    """Register what a deadline of a run refers to, for all that make runs or read the DAG."""

    name = "movielens_mf"
    deadline_references = [Creation]
