"""The steps: one verb a file, each a function that reads records and writes one record."""

from __future__ import annotations
