"""Run `python -m mftasks`."""

from __future__ import annotations

from mftasks.cli import main

if __name__ == "__main__":
    main()
