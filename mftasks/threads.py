"""How many threads the numeric libraries may use, which they read once, when they are imported."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def bound() -> None:
    """Give NumPy and MXNet one thread each, unless the user set another number.

    More are slower here: trainings run side by side, and idle threads of both libraries spin.
    """
    for name in VARIABLES:
        os.environ.setdefault(name, "1")
