"""What the world sees: published runs, to read, copy, list and in the end remove.

from mftasks import published
published.open_run(workspace).bundle().predict([196], [242])
"""

from __future__ import annotations

from mftasks.published.copy import copy
from mftasks.published.run import Published, open_any, open_folder, open_run, read_latest

__all__ = ["Published", "copy", "open_any", "open_folder", "open_run", "read_latest"]
