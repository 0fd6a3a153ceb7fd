"""Runs on a deployment into which faults are injected: one at a time, each published once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.deployment.deployed import BUCKET, Deployed

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Runs:
    """A deployment, and the version of the manifest of every run that was published there."""

    deployed: Deployed
    manifests: dict[str, str] = field(default_factory=dict)

    def repair(self) -> None:
        """Start what stays off, and wait until all is well."""
        self.deployed.deployment.start_again()
        self.deployed.deployment.wait_until_healthy()

    def begin(self, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run, and fail those of tests that failed: only one may be active."""
        self.deployed.airflow.end_unfinished_runs()
        self.deployed.trigger(run_id, conf)

    def published(self, run_id: str) -> dict[str, str]:
        """Wait until a run has ended well; return the sha256 of every file of its bundles."""
        assert self.deployed.wait_for_end(run_id) == "success", self.deployed.describe(run_id)
        client = self.deployed.s3("ui").client()
        answer = client.get_object(Bucket=BUCKET, Key=f"{self.deployed.prefix(run_id)}/{MANIFEST}")
        self.manifests.setdefault(self.deployed.airflow.store_run_id(run_id), _version(answer))
        files = json.loads(answer["Body"].read())["files"]
        return {file["name"]: file["sha256"] for file in files if "/bundle/" in file["name"]}

    def found(self) -> dict[str, str]:
        """Return the version of every manifest that is in the store, by its run."""
        client = self.deployed.s3("ui").client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="runs/")
        return {
            entry["Key"].split("/")[1]: _version(entry)
            for page in pages
            for entry in page["Contents"]
            if entry["Key"].endswith(f"/{MANIFEST}")
        }

    def retries(self, run_id: str) -> int:
        """Return how often tasks of a run were tried again."""
        tries = (task.try_number for task in self.deployed.airflow.tasks(run_id))
        return sum(max(0, n - 1) for n in tries)


def _version(entry: dict[str, Any]) -> str:
    return f"{entry['ETag']} of {entry['LastModified']}"
