"""Stand in for statsd-exporter in its container, on its ports; `tests.monitoring.exporter` says what it can do.

python -m tests.deployment.engine.statsd_exporter --statsd.mapping-config=FILE
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.monitoring import exporter

UDP_PORT = 9125
HTTP_PORT = 9102


def main(mappings: Path) -> None:
    """Take metrics, and show them, until a signal ends it."""
    with exporter.running(mappings, host="", udp_port=UDP_PORT, http_port=HTTP_PORT):
        while True:
            signal.pause()


if __name__ == "__main__":
    [given] = sys.argv[1:]
    main(Path(given.removeprefix("--statsd.mapping-config=")))
