"""What both sides of a comparison measure themselves with."""

from __future__ import annotations

import json
import time

from mftasks.devices.memory import peak_rss_bytes


class Clock:
    """RMSE, CPU seconds (of all threads) and wall seconds since it was made, epoch by epoch."""

    def __init__(self) -> None:
        self.cpu_began = time.process_time()
        self.wall_began = time.perf_counter()
        self.epochs: list[dict[str, float]] = []

    def tick(self, rmse: float) -> None:
        """Note the test RMSE after an epoch."""
        cpu, wall = time.process_time() - self.cpu_began, time.perf_counter() - self.wall_began
        self.epochs.append({"rmse": float(rmse), "cpu": cpu, "wall": wall})

    def print(self) -> None:
        """Print what was noted, with the peak of the process's memory, as the last line."""
        print(json.dumps({"epochs": self.epochs, "peak_rss_bytes": peak_rss_bytes()}), flush=True)
