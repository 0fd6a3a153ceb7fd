"""How good predictions are, and how sure that is."""

from __future__ import annotations
