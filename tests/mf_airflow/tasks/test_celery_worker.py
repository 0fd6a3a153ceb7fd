from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

# Starts a light task and a guarded step, as descendants of a worker, and is asked to shut down.
WORKER = """
import subprocess, sys, time
from celery.signals import worker_shutting_down
from mf_airflow.tasks import celery_worker, guard
sleep = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
light = subprocess.Popen(sleep)
step = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));"
heavy = [sys.executable, "-c", step + "print('ready', flush=True); time.sleep(60)"]
pool = "import subprocess, sys; from mf_airflow.tasks import guard; " \\
    "sys.exit(subprocess.call(guard.command(*sys.argv[1:], grace=5)))"
task = subprocess.Popen([sys.executable, "-c", pool, *heavy], stdout=subprocess.PIPE)
task.stdout.readline()
worker_shutting_down.send(sender="a", sig="SIGTERM", how="Warm", exitcode=0)
print("HEAVY", task.wait(20), "LIGHT", light.poll(), flush=True)
light.kill()
"""
SCHEDULER = """
import sys, threading, time
import airflow.providers.celery.executors.default_celery
before = set(sys.modules)
began = time.process_time()
from mf_airflow.tasks.celery_worker import CONFIG
print("SECONDS", time.process_time() - began, threading.active_count())
print("IMPORTED", *sorted(set(sys.modules) - before))
print("SAME", CONFIG == airflow.providers.celery.executors.default_celery.DEFAULT_CELERY_CONFIG)
"""


def test_a_worker_that_shuts_down_asks_its_trainings_to_stop_and_lets_light_tasks_be(
    tmp_path: Path,
) -> None:
    printed = _run(WORKER, tmp_path)
    assert "HEAVY 75 LIGHT None" in printed


def test_the_scheduler_imports_the_configuration_at_no_cost(tmp_path: Path) -> None:
    printed = dict(line.split(" ", 1) for line in _run(SCHEDULER, tmp_path).splitlines())
    assert printed["SAME"] == "True"
    assert "mftasks" not in printed["IMPORTED"].split()
    seconds, threads = printed["SECONDS"].split()
    assert float(seconds) < 0.5
    assert threads == "1"


def _run(script: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ
        | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "604800",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
        },
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
