"""Read ratings from files of any usual layout: understand a file, read it, clean what was read.

`understand` finds out how a file is packed and written and which column holds what; the `Layout` that
it returns says enough to read the file again in the same way. `load` returns the ratings as every
step sees them, with the rules on single rows and what was done about them.
"""

from __future__ import annotations

from mftasks.reading.cleaning import Cleaned, clean, load
from mftasks.reading.reader import Reading, read
from mftasks.reading.stored import load_stored, understand_stored
from mftasks.reading.understanding import understand

__all__ = [
    "Cleaned",
    "Reading",
    "clean",
    "load",
    "load_stored",
    "read",
    "understand",
    "understand_stored",
]
