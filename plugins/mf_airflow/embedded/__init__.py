"""The stack of one machine: `make run`, `make up`, `make down`."""

from __future__ import annotations
