from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mftasks import published, reading
from mftasks.published.rated import pack_rated
from mftasks.records import Manifest, ReadConfig, SplitConfig
from mftasks.store.workspace import Workspace


def test_what_a_user_rated_in_any_part_of_the_data_is_known_without_the_store(
    finished: Workspace, manifest: Manifest, tmp_path: Path
) -> None:
    rows = finished.fetch(manifest.dataset.ratings).read_text().splitlines()[1:]
    pairs = [row.split(",")[:2] for row in rows]
    run = published.open_folder(published.copy(finished, manifest, tmp_path / "output"))
    for user in ("0", "37", "59"):
        items = sorted(int(item) for rater, item in pairs if rater == user)
        assert sorted(run.rated_by(user)) == items
        assert not {item for item, _ in run.bundle().recommend(user, exclude=items)} & {*items}


def test_what_was_rated_after_as_of_is_not_known(finished: Workspace, manifest: Manifest) -> None:
    path = finished.fetch(manifest.dataset.ratings)
    table = reading.load([path], reading.understand([path], ReadConfig()), ReadConfig()).table
    moments = np.sort(table.timestamps)
    as_of = datetime.fromtimestamp(int(moments[len(moments) // 2]), UTC)
    data = pack_rated(table, SplitConfig(strategy="hash", test_fraction=0.2, as_of=as_of))
    with np.load(io.BytesIO(data)) as arrays:
        assert arrays["starts"][-1] == len(arrays["items"]) == len(moments) // 2


def test_an_unknown_user_has_rated_nothing(finished: Workspace) -> None:
    run = published.open_run(finished)
    assert run.rated_by(999) == run.rated_by("nobody") == []
