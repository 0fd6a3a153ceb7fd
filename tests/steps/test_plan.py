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
        ({"test_from": "0001-01-01T00:00:00+14:00"}, InvalidPlan, "'0001-01-01T00"),
        ({"as_of": "9999-12-31T23:59:59-12:00"}, InvalidPlan, "'9999-12-31T23"),
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


def test_a_whole_number_may_be_spelt_as_a_form_of_json_spells_it() -> None:
    given = {"epochs": 5.0, "networks": ["mlp"], "hidden": 8.0, "overrides": {"mlp": {"seed": 3.0}}}
    [training] = resolve("r", given).trainings
    assert (training.epochs, training.params["hidden"], training.seed) == (5, 8, 3)
    assert type(training.epochs) is int


def test_patience_needs_no_valid_fraction_under_a_temporal_split() -> None:
    planned = resolve("r", {"test_from": "1998-04-01", "patience": 3})
    assert planned.split.valid_fraction is None
    assert planned.trainings[0].patience == 3


@pytest.mark.parametrize(
    "spelt", ["1998-04-01T00:00:00Z", "1998-04-01", "1998-04-01T02:00:00+02:00", "1998-04-01 00:00"]
)
def test_a_moment_is_the_same_however_it_is_spelt(spelt: str) -> None:
    split = resolve("r", {"test_from": spelt}).split
    assert msgspec.json.encode(split) == msgspec.json.encode(
        resolve("r", {"test_from": "1998-04-01T00:00:00+00:00"}).split
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"as_of": "1998-01-01", "test_from": "1998-04-01"}, "leaves nothing to test on"),
        ({"as_of": "1998-04-01", "test_from": "1998-04-01"}, "leaves nothing to test on"),
        ({"momentum": 0.9}, "momentum 0.9 has no effect on optimizer 'adam'"),
        ({"overrides": {"mlp": {"momentum": 0.9}}}, "network mlp: momentum 0.9 has no effect"),
        ({"valid_fraction": 0, "patience": 3}, "patience 3 has no effect without a validation"),
        ({"preset": "notebook", "patience": 3}, "patience 3 has no effect without a validation"),
        ({"preset": "notebook", "keep": "best"}, "keep best has no effect without a validation"),
        ({"learning_rate": float("inf")}, "learning_rate cannot be inf: .* above 0 to 10"),
        ({"learning_rate": float("nan")}, "learning_rate cannot be nan"),
        ({"learning_rate": 1e308}, "learning_rate cannot be"),
        ({"l2": 10**400}, "l2 cannot be 1000.*: it must be a number from 0 to 100"),
        ({"weight_decay": 2**70}, "weight_decay cannot be"),
        ({"seed": 2**70}, "seed cannot be .* a whole number from 0 to 2,147,483,647"),
        ({"patience": 2**70}, "patience cannot be"),
        ({"devices": 10**6}, "devices cannot be 1000000: .* from 1 to 64"),
        ({"epochs": True}, "epochs cannot be True: it must be a whole number from 1 to 10,000"),
        ({"epochs": 2.5}, "epochs cannot be 2.5"),
        ({"overrides": {"mlp": {"batch_size": 10**9}}}, "network mlp: batch_size cannot be"),
        ({"overrides": {"mlp": {"hidden": 0}}}, "network mlp: hidden cannot be 0"),
        ({"overrides": {"mlp": 3}}, "overrides cannot be"),
        ({"hidden": 10**9}, "network mlp: hidden cannot be .* from 1 to 4,096"),
        ({"test_fraction": 1e-300}, "test_fraction cannot be 1e-300"),
        ({"valid_fraction": 1e-300}, "valid_fraction 1e-300 leaves nothing to validate on"),
        ({"networks": ["linear", "linear"]}, "'linear' more than once"),
        ({"optimizer": "adm"}, "optimizer cannot be 'adm': it must be one of adam, sgd"),
        ({"test_from": "1998-13-01"}, "test_from cannot be '1998-13-01': .* such as 1998-04-01"),
        ({"test_from": 891_388_800}, "test_from cannot be 891388800"),
    ],
)
def test_what_cannot_be_or_would_have_no_effect_is_refused_by_name(
    given: dict, sentence: str
) -> None:
    with pytest.raises(InvalidPlan, match=sentence):
        resolve("r", given)


@pytest.mark.parametrize("name", ["dataset", "optimizer", "x" * 50_000])
def test_a_message_never_repeats_more_than_300_letters(name: str) -> None:
    with pytest.raises(InvalidPlan) as refused:
        resolve("r", {name: "y" * 50_000})
    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        ("file://host/tmp/own.csv", "lies on the host 'host'"),
        ("ratings.csv", "is a relative path"),
        ("file://", "names no file"),
        ("file:///", "names no file"),
        ("s3://bucket", "is a whole bucket"),
        ("ftp://somewhere/ratings.csv", "unknown data set"),
    ],
)
def test_a_data_set_that_cannot_be_ratings_is_refused_before_anything_runs(
    dataset: str, sentence: str
) -> None:
    with pytest.raises(UnknownDataset, match=sentence):
        resolve("r", {"dataset": dataset})


@pytest.mark.parametrize(
    "dataset",
    [
        *("s3://bucket/A.CSV", "file:///a b.csv", "file://localhost/r.csv", "s3://bucket/folder/"),
        *("https://somewhere/ratings", "file:///data/part-*"),
    ],
)
def test_a_uri_of_ratings_is_accepted(dataset: str) -> None:
    assert resolve("r", {"dataset": dataset}).dataset == dataset


def test_a_password_in_a_uri_is_neither_stored_nor_shown(workspace: Workspace) -> None:
    with pytest.raises(UnknownDataset) as refused:
        plan(workspace, "a", {"dataset": "file://reader:secret@localhost/mine.csv"})
    assert "secret" not in str(refused.value)
    assert list(workspace.store.list("")) == []
