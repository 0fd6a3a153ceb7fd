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
    code, said = database.run("-m", "airflow", "db", "downgrade", "--to-version", "3.2.0", "--yes")
    assert code == 0, said
    assert database.ask(operations.REVISION) == [(BEHIND,)]
    database.ask("UPDATE dag SET is_stale = true")

    said = database.operate("upgrade")
    assert f"database: revision {BEHIND} → {HEAD}" in said
    assert "DAGs: movielens_mf" in said
    assert database.ask(operations.REVISION) == [(HEAD,)]
    assert database.runs() == ["kept", "old"]
    assert database.connection(deployments.fernet_key) == ENCRYPTED

    dags = tmp_path / "dags"
    shutil.copytree(ROOT / "dags", dags)
    (dags / "broken.py").write_text("from airflow.sdk import dag, no_such_thing\n")
    code, said = database.run(
        "-m", "mf_airflow.operations", "upgrade", AIRFLOW__CORE__DAGS_FOLDER=str(dags)
    )
    assert code == 64, said
    assert "DAGs cannot be imported: broken.py" in said
    assert "no_such_thing" in said
