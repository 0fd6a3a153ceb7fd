"""A file as a stream of text: how it is packed and encoded, by its first bytes."""

from __future__ import annotations
