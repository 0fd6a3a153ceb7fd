"""What a deployment needs from time to time: backup, restore, upgrade, rotation of secrets, clean-up."""

from __future__ import annotations
