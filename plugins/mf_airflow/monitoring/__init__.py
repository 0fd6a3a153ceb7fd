"""What is measured and reported: gauges, progress, notifications, health."""

from __future__ import annotations
