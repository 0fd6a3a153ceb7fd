"""Retraining of matrix-factorisation networks for rating prediction; knows nothing of Airflow."""

from __future__ import annotations
