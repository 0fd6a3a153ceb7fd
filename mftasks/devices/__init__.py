"""What a training may compute on: finding GPUs, leasing them, running out of memory."""

from __future__ import annotations
