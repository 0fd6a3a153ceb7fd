from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
)

from tests.mf_airflow.tasks.scripts import execute, scripted


def test_a_child_that_sigterm_ended_before_it_could_answer_uses_up_no_try() -> None:
    with pytest.raises(AirflowRescheduleException):
        execute(scripted("import os; os.kill(os.getpid(), 15)"))


def test_a_training_that_was_killed_is_named_with_the_epoch_that_it_had_reached() -> None:
    tick = '{"work":"train mlp","done":8,"total":60,"unit":"epochs","epoch":' + EPOCH + "}"
    script = f"import os; print('device auto is the CPU here'); print('{tick}', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(AirflowException) as caught:
        execute(scripted(script))
    assert str(caught.value) == (
        "train mlp was killed (SIGKILL) after epoch 8 of 60; the next try resumes from the last checkpoint"
    )


def test_an_evaluation_that_was_killed_has_no_checkpoint_to_resume_from() -> None:
    with pytest.raises(AirflowException) as caught:
        execute(scripted("import os; os.kill(os.getpid(), 9)", "evaluate"))
    assert str(caught.value) == "evaluate mlp was killed (SIGKILL); the next try starts over"


EPOCH = (
    '{"epoch":8,"train_rmse":0.9,"valid_rmse":0.9,"learning_rate":0.1,"seconds":8,'
    '"ratings_per_second":100}'
)


def test_a_child_that_was_killed_from_outside_is_retried() -> None:
    with pytest.raises(AirflowException, match=r"killed \(SIGKILL\)") as caught:
        execute(scripted("import os; os.kill(os.getpid(), 9)"))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """Give a cgroup that may hold 100 MB, real memory of this host."""
    root = Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()
    folder = (root / "memory" if first else root) / f"mf-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if first else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(100 << 20))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield folder
    folder.rmdir()


def test_the_error_of_a_child_that_the_kernel_killed_for_memory_names_what_to_change(
    small_cgroup: Path,
) -> None:
    operator = scripted(
        "import os, pathlib\n"
        f"pathlib.Path({str(small_cgroup)!r}, 'cgroup.procs').write_text(str(os.getpid()))\n"
        "print('grows', flush=True); b'x' * 400_000_000"
    )
    with pytest.raises(AirflowException, match=r"lack of memory; lower batch_size"):
        execute(operator)
