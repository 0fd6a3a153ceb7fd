from __future__ import annotations

import pytest

from benchmarks.duels import DUELS, EPOCHS, Duel
from benchmarks.ours import make_config
from benchmarks.rows import make_rows
from benchmarks.runs import Epoch, Run


def make_run(*rmses: float, cpu: float) -> Run:
    epochs = (Epoch(rmse, cpu * i, 2 * cpu * i) for i, rmse in enumerate(rmses, 1))
    return Run(tuple(epochs), 200_000_000)


def test_a_duel_to_the_end_compares_the_last_epochs_of_both() -> None:
    duel = Duel("d", "mlp", 3, {})
    theirs = [make_run(1.2, 1.1, 1.0, 0.9, cpu=cpu) for cpu in (2.0, 3.0, 9.0)]
    ours = [make_run(1.1, 1.0, 0.8, cpu=cpu) for cpu in (1.0, 1.0, 5.0)]
    found = {row.unit + row.name: row for row in make_rows(duel, ours, theirs)}
    cpu = found["sd: CPU"]
    assert (cpu.ours, cpu.theirs, cpu.ratio) == (3.0, 9.0, 3.0)
    assert found["sd: wall"].theirs == 18.0
    assert (found["RMSEd: test RMSE"].ours, found["RMSEd: test RMSE"].theirs) == (0.8, 1.0)
    assert found["MBd: peak memory"].ratio == 1.0


def test_a_duel_to_their_best_counts_the_seconds_until_each_side_is_there() -> None:
    duel = Duel("d", "mlp", None, {})
    theirs = [make_run(1.2, 0.9, 1.0, cpu=10.0)]
    cpu, *_ = make_rows(duel, [make_run(1.0, 0.89, 0.8, cpu=1.0)], theirs)
    assert (cpu.ours, cpu.theirs, cpu.ratio) == (2.0, 20.0, 10.0)
    with pytest.raises(SystemExit, match=r"comes to 0\.9500, and 0\.9000 was to be reached"):
        make_rows(duel, [make_run(1.0, 0.95, cpu=1.0)], theirs)


@pytest.mark.parametrize("duel", DUELS, ids=lambda duel: duel.name)
def test_a_duel_over_the_same_epochs_keeps_the_notebooks_batch_size(duel: Duel) -> None:
    ours, notebook = make_config(duel.network, duel.changes), make_config(duel.network, {})
    if duel.epochs is not None:
        assert ours.batch_size == notebook.batch_size
        assert ours.epochs == duel.epochs <= EPOCHS[duel.network]
        assert not ours.params["biases"]
