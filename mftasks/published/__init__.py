"""What the world sees: published runs, to be read, copied and in the end removed.

from mftasks import published
published.open_run(workspace).bundle().predict([196], [242])
"""

from __future__ import annotations

from mftasks.published.copy import copy
from mftasks.published.run import Published, latest, open_folder, open_run

__all__ = ["Published", "copy", "latest", "open_folder", "open_run"]
