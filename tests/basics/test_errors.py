from __future__ import annotations

import pytest

from mftasks import errors


@pytest.mark.parametrize(
    ("kind", "code", "retryable"),
    [
        (errors.MfError, 70, True),
        (errors.UnknownNetwork, 64, False),
        (errors.InvalidDataset, 65, False),
        (errors.ChecksumMismatch, 65, False),
        (errors.TrainingDiverged, 65, False),
        (errors.MissingRecord, 66, False),
        (errors.SourceUnavailable, 69, True),
        (errors.StoreUnavailable, 69, True),
        (errors.DeviceUnavailable, 69, True),
        (errors.NoDeviceFree, 75, True),
        (errors.Interrupted, 75, True),
    ],
)
def test_an_error_has_its_exit_code_and_knows_whether_a_retry_helps(kind, code, retryable) -> None:
    assert (kind.exit_code, kind.retryable) == (code, retryable)
    found = errors.of_exit_code(code)
    assert (found.exit_code, found.retryable) == (code, retryable)
    assert issubclass(kind, found), "an exit code does not say more than it knows"


def test_an_unknown_exit_code_is_retried() -> None:
    assert errors.of_exit_code(-9) is errors.MfError


def test_a_misspelt_word_gets_a_suggestion() -> None:
    assert (
        errors.did_you_mean("mpl", ["linear", "mlp"]) == "; did you mean 'mlp'? known: linear, mlp"
    )
    assert errors.did_you_mean("xyz", ["linear"]) == "; known: linear"


def test_a_message_shows_at_most_300_letters_of_a_value() -> None:
    assert errors.quote("mlp") == "'mlp'"
    assert errors.quote("x" * 50_000) == f"'{'x' * 299}… (50,002 letters)"
