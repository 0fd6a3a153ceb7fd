from __future__ import annotations

import shutil
from pathlib import Path

from mf_airflow.embedded.environment import ROOT
from mf_airflow.operations import __main__ as operations
from tests.mf_airflow.operations.deployment import ENCRYPTED, Deployments

HEAD, BEHIND = "d2f4e1b3c5a7", "1d6611b6ab7c"  # the revisions of Airflow 3.3 and 3.2


def test_a_database_that_is_behind_is_upgraded_and_the_dag_parses(
    deployments: Deployments, tmp_path: Path
) -> None:
    database = deployments.copy("behind")
    code, output = database.run(
        "-m", "airflow", "db", "downgrade", "--to-version", "3.2.0", "--yes"
    )
    assert code == 0, output
    assert database.ask(operations.REVISION) == [(BEHIND,)]
    database.ask("UPDATE dag SET is_stale = true")

    output = database.operate("upgrade")
    assert f"database: revision {BEHIND} → {HEAD}" in output
    assert "DAGs: movielens_mf" in output
    assert database.ask(operations.REVISION) == [(HEAD,)]
    assert database.runs() == ["kept", "old"]
    assert database.connection(deployments.fernet_key) == ENCRYPTED

    dags = tmp_path / "dags"
    shutil.copytree(ROOT / "dags", dags)
    (dags / "broken.py").write_text("from airflow.sdk import dag, no_such_thing\n")
    code, output = database.run(
        "-m", "mf_airflow.operations", "upgrade", AIRFLOW__CORE__DAGS_FOLDER=str(dags)
    )
    assert code == 64, output
    assert "DAGs cannot be imported: broken.py" in output
    assert "no_such_thing" in output
