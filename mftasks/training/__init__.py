"""From arrays to weights; only `checkpoints` knows a store."""

from __future__ import annotations
