"""Read the ratings of a data set that the store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mftasks.reading.cleaning import Cleaned, load
from mftasks.reading.understanding import understand

if TYPE_CHECKING:
    from mftasks.records import DatasetRef, Layout, ReadConfig
    from mftasks.store.workspace import Workspace


def understand_stored(workspace: Workspace, dataset: DatasetRef, config: ReadConfig) -> Layout:
    """Return how a data set is written: as is known of it, else as its files look."""
    if dataset.layout is not None:
        return dataset.layout
    return understand(list(map(workspace.fetch, dataset.files)), config, dataset.file_names)


def load_stored(
    workspace: Workspace, dataset: DatasetRef, layout: Layout | None, config: ReadConfig
) -> Cleaned:
    """Return the cleaned ratings of a data set."""
    paths = list(map(workspace.fetch, dataset.files))
    return load(paths, layout, config, dataset.file_names)
