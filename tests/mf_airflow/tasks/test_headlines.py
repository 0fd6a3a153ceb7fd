from __future__ import annotations

from mf_airflow.tasks import headlines


def test_every_kind_of_record_has_headline_figures() -> None:
    assert set(headlines.OF_NETWORK) == {"train", "evaluate"}
    assert len(set(headlines.OF_RUN.values())) == len(headlines.OF_RUN) == 6
