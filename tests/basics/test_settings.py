from __future__ import annotations

import os
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


def test_a_wait_for_a_device_has_no_limit_unless_one_is_set() -> None:
    assert settings.read({"MF_DEVICE_WAIT_SECONDS": ""}).device_wait_seconds is None
    assert settings.read({"MF_DEVICE_WAIT_SECONDS": "1.5"}).device_wait_seconds == 1.5


def test_a_wrong_type_is_refused() -> None:
    given = {"MF_CHECKPOINT_SECONDS": "soon", "MF_MOVIELENS_URL": "https://reader:secret@mirror"}
    with pytest.raises(InvalidPlan, match="MF_CHECKPOINT_SECONDS='soon'") as caught:
        settings.read(given)
    assert "secret" not in str(caught.value)


def test_the_cpu_takes_a_training_a_core_and_all_three_networks_at_least() -> None:
    assert settings.read({}).cpu_slots == max(3, os.cpu_count() or 1)
    assert settings.read({"MF_CPU_SLOTS": "1"}).cpu_slots == 1
    with pytest.raises(InvalidPlan, match="cpu_slots"):
        settings.read({"MF_CPU_SLOTS": "0"})


def test_every_variable_is_described() -> None:
    described = {word for word in str(settings.__doc__).split() if word.startswith("MF_")}
    assert described == {f"MF_{field.upper()}" for field in settings.Settings.__struct_fields__}


def test_the_cache_has_a_bound() -> None:
    assert settings.read({}).cache_bytes == 10 * 2**30
    assert settings.read({"MF_CACHE_BYTES": "1000"}).cache_bytes == 1000
    with pytest.raises(InvalidPlan, match="MF_CACHE_BYTES='10G'"):
        settings.read({"MF_CACHE_BYTES": "10G"})
