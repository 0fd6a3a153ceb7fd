"""What a deployment needs from time to time: back up, restore, upgrade, rotate secrets, clean up."""

from __future__ import annotations
