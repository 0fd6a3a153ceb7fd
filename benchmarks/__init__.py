"""What the figures of the README come from."""

from __future__ import annotations
