from __future__ import annotations

from pathlib import Path

import pytest

from mftasks import settings
from mftasks.errors import InvalidPlan


def test_the_environment_is_read() -> None:
    given = {"MF_STORE": "s3://b/p", "MF_CACHE": "/c", "MF_CHECKPOINT_SECONDS": "2.5", "HOME": "/"}
    read = settings.read(given)
    assert (read.store, read.cache, read.checkpoint_seconds) == ("s3://b/p", Path("/c"), 2.5)


def test_an_empty_variable_is_an_unset_one() -> None:
    assert settings.read({"MF_S3_ENDPOINT": ""}).s3_endpoint is None


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="soon"):
        settings.read({"MF_CHECKPOINT_SECONDS": "soon"})
