from __future__ import annotations

import msgspec
import pytest

from mftasks import networks
from mftasks.errors import InvalidPlan, UnknownDataset, UnknownNetwork
from mftasks.records import DagRun, RunPlan
from mftasks.steps.plan import plan, resolve
from mftasks.store.workspace import Workspace


def config(name: str, **given: object):
    return next(one for one in resolve("r", given).trainings if one.network == name)


def test_nothing_given_trains_every_network_on_fold_1() -> None:
    planned = resolve("r", {})

    assert [training.network for training in planned.trainings] == list(networks.names())
    assert (planned.split.strategy, planned.split.fold) == ("canonical", 1)
    assert planned.split.valid_fraction > 0


def test_the_notebook_has_no_validation_part_and_keeps_the_last_epoch() -> None:
    planned = resolve("r", {"preset": "notebook"})

    assert planned.split.valid_fraction == 0
    assert {training.keep for training in planned.trainings} == {"last"}
    assert [training.epochs for training in planned.trainings] == [25, 20, 25]


def test_a_parameter_reaches_every_network_and_an_override_wins() -> None:
    given = {"epochs": 7, "factors": 8, "overrides": {"mlp": {"epochs": 5, "hidden": 9}}}

    assert config("linear", **given).epochs == 7
    assert config("mlp", **given).epochs == 5
    assert config("mlp", **given).params["hidden"] == 9
    assert {training.params["factors"] for training in resolve("r", given).trainings} == {8}


def test_a_parameter_goes_to_the_networks_that_have_it() -> None:
    assert "hidden" not in config("linear", hidden=32).params
    assert config("mlp", hidden=32).params["hidden"] == 32


def test_a_fraction_or_moment_names_its_strategy() -> None:
    assert resolve("r", {"test_fraction": 0.3}).split.strategy == "hash"
    temporal = resolve("r", {"test_from": "1998-04-01"}).split
    assert temporal.strategy == "temporal"
    assert temporal.test_from is not None
    assert temporal.test_from.isoformat() == "1998-04-01T00:00:00+00:00"


def test_a_uri_is_split_by_hash() -> None:
    assert resolve("r", {"dataset": "file:///ratings.csv"}).split.strategy == "hash"


@pytest.mark.parametrize(
    ("given", "kind", "sentence"),
    [
        ({"epohcs": 3}, InvalidPlan, "did you mean 'epochs'"),
        ({"epochs": 0}, InvalidPlan, "epochs"),
        ({"epochs": "many"}, InvalidPlan, "epochs"),
        ({"learning_rate": -1.0}, InvalidPlan, "learning_rate"),
        ({"networks": ["mpl"]}, UnknownNetwork, "did you mean 'mlp'"),
        ({"dataset": "ml-100"}, UnknownDataset, "did you mean 'ml-100k'"),
        ({"overrides": {"mlpp": {}}}, InvalidPlan, "did you mean 'mlp'"),
        ({"overrides": {"mlp": {"epoch": 1}}}, InvalidPlan, "did you mean 'epochs'"),
        ({"overrides": {"mlp": {"epochs": -1}}}, InvalidPlan, "network mlp"),
        ({"overrides": {"mlp": {"network": "linear"}}}, InvalidPlan, "unknown parameter"),
        ({"networks": ["linear"], "hidden": 3}, InvalidPlan, "none of the networks"),
        ({"networks": ["linear"], "overrides": {"mlp": {}}}, InvalidPlan, "not trained"),
        ({"fold": 6}, InvalidPlan, "fold"),
        ({"split": "hash", "fold": 2}, InvalidPlan, "belongs to split 'canonical'"),
        ({"split": "temporal"}, InvalidPlan, "test_from"),
        ({"test_from": "spring"}, InvalidPlan, "'spring'"),
        ({"dataset": "ml-1m", "split": "canonical"}, InvalidPlan, "ml-100k only"),
        ({"test_fraction": 0.6, "valid_fraction": 0.5}, InvalidPlan, "nothing to train on"),
    ],
)
def test_an_impossible_parameter_is_refused_with_a_hint(
    workspace: Workspace, given: dict, kind: type, sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        plan(workspace, "r", given)
    assert workspace.store.list("") == []


@pytest.mark.parametrize("run_id", ["", "../x", "a b", "-x", "x" * 201])
def test_an_unsafe_run_id_is_refused(workspace: Workspace, run_id: str) -> None:
    with pytest.raises(InvalidPlan, match="run id"):
        plan(workspace, run_id, {})


def test_planning_twice_gives_the_same_plan(workspace: Workspace) -> None:
    first = plan(workspace, "r", {"epochs": 3})

    assert plan(workspace, "r", {"epochs": 3}) == first
    assert workspace.read("runs/r/plan.json", RunPlan) == first


def test_a_run_id_never_gets_other_parameters(workspace: Workspace) -> None:
    plan(workspace, "r", {"epochs": 3})
    with pytest.raises(InvalidPlan, match="other parameters"):
        plan(workspace, "r", {"epochs": 4})


FRIDAY = DagRun(dag_id="movielens_mf", run_id="scheduled__friday")


def test_a_plan_says_what_was_given_and_for_which_dag_run(workspace: Workspace) -> None:
    planned = plan(workspace, "r", {"epochs": 3, "seed": None}, FRIDAY)
    assert (planned.given, planned.dag_run) == ({"epochs": 3}, FRIDAY)


@pytest.mark.parametrize("dag_run", [None, FRIDAY])
def test_a_plan_that_is_there_stays_when_an_upgrade_changes_a_preset(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, dag_run: DagRun | None
) -> None:
    first = plan(workspace, "r", {"networks": ["mlp"]}, dag_run)
    mlp = networks.load("mlp")
    changed = msgspec.structs.replace(mlp.PRESETS["default"], epochs=99)
    monkeypatch.setitem(mlp.PRESETS, "default", changed)
    assert plan(workspace, "r", {"networks": ["mlp"]}, dag_run) == first


def test_a_plan_that_is_there_stays_when_an_upgrade_adds_a_parameter(workspace: Workspace) -> None:
    first = plan(workspace, "r", {"epochs": 3}, FRIDAY)
    assert plan(workspace, "r", {"epochs": 3, "not_known_before": 1}, FRIDAY) == first


@pytest.mark.parametrize("other", [None, DagRun(dag_id="books", run_id="scheduled__friday")])
def test_a_run_of_somebody_else_is_refused(workspace: Workspace, other: DagRun | None) -> None:
    plan(workspace, "r", {}, FRIDAY)
    with pytest.raises(InvalidPlan, match="belongs to 'scheduled__friday' of DAG movielens_mf"):
        plan(workspace, "r", {}, other)
