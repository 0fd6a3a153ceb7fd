"""Fetch data: the releases of MovieLens from their sources, and files of the user's own from where they lie."""

from __future__ import annotations
