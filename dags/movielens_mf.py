"""Retrain, evaluate and publish the rating-prediction networks on MovieLens-100k, weekly or on a click.

A DAG for other ratings is a file with another call of `retraining`; this one need not change.
"""

from __future__ import annotations

from mf_airflow.retraining import retraining

dag = retraining(
    "movielens_mf",
    dataset="ml-100k",
    schedule="@weekly",
    tags=["movielens", "mxnet", "training"],
)
