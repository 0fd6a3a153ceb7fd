"""From a URL to arrays: fetch, verify, read, check, split."""

from __future__ import annotations
