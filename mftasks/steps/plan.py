"""Resolve and validate every parameter of a run, once.

python -m mftasks plan --run-id try-1 --set networks='["mlp"]' --set epochs=3
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from mftasks import networks, params
from mftasks.data import catalog, uris
from mftasks.errors import InvalidPlan, did_you_mean, quote
from mftasks.params import schemas
from mftasks.records import DagRun, ReadConfig, RunPlan, SplitConfig, Strategy, TrainConfig
from mftasks.store import keys
from mftasks.version import code_version

if TYPE_CHECKING:
    from mftasks.networks import Network
    from mftasks.store.workspace import Workspace

log = logging.getLogger(__name__)

FITTING_STRATEGY: dict[str, Strategy] = {
    "fold": "canonical",
    "test_fraction": "hash",
    "test_from": "temporal",
}
DEFAULTS: dict[Strategy, dict[str, Any]] = {
    "canonical": {"fold": 1},
    "hash": {"test_fraction": 0.2},
    "temporal": {"valid_fraction": None},  # as long as the test part
}
LEAST_FRACTION = 0.001
TRAIN_FIELDS = tuple(schemas.read_schemas(TrainConfig))


def plan(
    workspace: Workspace, run_id: str, given: Mapping[str, Any], dag_run: DagRun | None = None
) -> RunPlan:
    """Write the plan of a run from what a user gave; a plan that is there stays.

    Raises `InvalidPlan` for a parameter that is unknown or impossible, and for a run id that
    stands for other parameters already.
    """
    _check_run_id(run_id)
    key = keys.run(run_id, "plan.json")
    found = workspace.find_done(key, RunPlan)
    if found is None:
        found = workspace.write(key, resolve(run_id, given, dag_run))
    _check_same(found, given, dag_run)
    return found


def resolve(run_id: str, given: Mapping[str, Any], dag_run: DagRun | None = None) -> RunPlan:
    """Return the plan that `given` stands for, without writing it."""
    chosen = params.parse(given)
    general = chosen.general
    catalog.check(general.dataset)
    usable, broken = _choose_networks(general)
    split = _plan_split(chosen)
    return RunPlan(
        run_id=run_id,
        dataset=general.dataset,
        reading=_plan_reading(chosen),
        split=split,
        trainings=tuple(_plan_trainings(chosen, usable, split)),
        broken=broken,
        device=general.device,
        devices=general.devices,
        created_at=datetime.now(UTC),
        code_version=code_version(),
        given=_drop_empty(given),
        dag_run=dag_run,
    )


def _drop_empty(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, without what was left empty."""
    return {name: value for name, value in given.items() if value is not None}


def _check_same(found: RunPlan, given: Mapping[str, Any], dag_run: DagRun | None) -> None:
    """Refuse to go on with a run that was planned for something else.

    What a DAG run was given never changes, but an upgrade may add parameters to the form: so the
    DAG run decides if there is one.
    """
    if found.dag_run != dag_run:
        raise InvalidPlan(
            f"run {found.run_id!r} belongs to {_name_owner(found.dag_run)}, not to {_name_owner(dag_run)}: "
            "choose another run id"
        )
    if dag_run is None and found.given != _drop_empty(given):
        raise InvalidPlan(
            f"run {found.run_id!r} exists with other parameters, and a run never changes: "
            "choose another run id"
        )


def _name_owner(dag_run: DagRun | None) -> str:
    return f"{dag_run.run_id!r} of DAG {dag_run.dag_id}" if dag_run else "the command line"


def _check_run_id(run_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", run_id):
        raise InvalidPlan(
            f"run id {quote(run_id)} must be 1 to 200 letters, digits, dots, dashes or underscores, "
            "and start with a letter or digit"
        )


def _choose_networks(general: params.General) -> tuple[dict[str, Network], dict[str, str]]:
    """Return the networks to train, and why others that nobody named cannot be."""
    if not general.networks:
        usable, broken = networks.survey()
        for error in broken.values():
            log.warning("%s", error)
        if not usable:
            raise InvalidPlan(f"no network can be trained: {'; '.join(broken.values())}")
        return usable, broken
    for name in general.networks:
        if general.networks.count(name) > 1:
            raise InvalidPlan(f"networks has {quote(name)} more than once")
    return {name: networks.load(name) for name in general.networks}, {}


def _plan_reading(chosen: params.Chosen) -> ReadConfig:
    config, dataset = chosen.reading, chosen.general.dataset
    if not uris.is_uri(dataset):
        for name in ReadConfig.__struct_fields__:
            if getattr(config, name) != getattr(ReadConfig(), name):
                raise InvalidPlan(
                    f"{name} belongs to a file of your own; how {dataset} is written is known"
                )
    if config.scale and not config.scale[0] < config.scale[1]:
        low, high = config.scale
        raise InvalidPlan(
            f"scale [{low:g}, {high:g}] leaves no rating; the lowest comes first, such as [1, 5]"
        )
    return config


def _plan_split(chosen: params.Chosen) -> SplitConfig:
    general, asked = chosen.general, chosen.split
    default: Strategy = "canonical" if general.dataset == catalog.FOLDED else "hash"
    fitting = (FITTING_STRATEGY[name] for name in FITTING_STRATEGY if name in asked)
    named: Strategy = next(fitting, default)
    strategy = general.split or named
    preset = {"valid_fraction": 0.0} if general.preset == "notebook" else {}
    config = SplitConfig(strategy=strategy, **(DEFAULTS[strategy] | preset | asked))
    _check_split(config, general.dataset, asked)
    return config


def _check_split(config: SplitConfig, dataset: str, asked: Mapping[str, Any]) -> None:
    for name, strategy in FITTING_STRATEGY.items():
        if name in asked and config.strategy != strategy:
            raise InvalidPlan(f"{name} belongs to split {strategy!r}, not {config.strategy!r}")
    if config.strategy == "temporal" and config.test_from is None:
        raise InvalidPlan("split 'temporal' needs test_from, such as '1998-04-01'")
    if config.strategy == "canonical" and dataset != catalog.FOLDED:
        raise InvalidPlan(
            f"split 'canonical' has folds of ml-100k only, not of {quote(dataset)}; "
            "choose hash or temporal"
        )
    valid_fraction = config.valid_fraction or 0
    if 0 < valid_fraction < LEAST_FRACTION:
        raise InvalidPlan(
            f"valid_fraction {config.valid_fraction} leaves nothing to validate on; "
            f"it must be 0 for no validation part, or from {LEAST_FRACTION}"
        )
    if config.strategy == "hash" and (config.test_fraction or 0) + valid_fraction >= 1:
        raise InvalidPlan(
            f"test_fraction {config.test_fraction} and valid_fraction {config.valid_fraction} "
            "leave nothing to train on; their sum must be below 1"
        )
    if config.test_from and config.as_of and config.as_of <= config.test_from:
        raise InvalidPlan(
            f"as_of {config.as_of.isoformat()} leaves nothing to test on; "
            f"it must be after test_from {config.test_from.isoformat()}"
        )


def _plan_trainings(
    chosen: params.Chosen, usable: Mapping[str, Network], split: SplitConfig
) -> Iterator[TrainConfig]:
    for name in chosen.general.overrides:
        if name not in usable:
            raise InvalidPlan(
                f"overrides for {quote(name)}, which is not trained{did_you_mean(name, usable)}"
            )
    own = {field for network in usable.values() for field in network.Params.__struct_fields__}
    for name in chosen.network:
        if name not in own:
            raise InvalidPlan(
                f"parameter {name!r} belongs to none of the networks {', '.join(usable)}"
            )
    for name, network in usable.items():
        yield _plan_training(name, network, chosen, split)


def _plan_training(
    name: str, network: Network, chosen: params.Chosen, split: SplitConfig
) -> TrainConfig:
    of = f"network {name}: "
    fields = network.Params.__struct_fields__
    override = chosen.general.overrides.get(name, {})
    params.refuse_unknown(override, (*TRAIN_FIELDS, *fields), f" of {name}")
    preset = network.PRESETS[chosen.general.preset]
    asked = chosen.training | {key: override[key] for key in override if key in TRAIN_FIELDS}
    own = preset.params | chosen.network | override
    own = params.convert({key: own[key] for key in own if key in fields}, network.Params, of)
    config = msgspec.structs.replace(
        preset,
        **params.convert(asked, TrainConfig, of),
        params=msgspec.to_builtins(network.Params(**own)),
    )
    _refuse_useless(config, asked, split, of)
    return config


def _refuse_useless(
    config: TrainConfig, asked: Mapping[str, Any], split: SplitConfig, of: str
) -> None:
    """Refuse a parameter that was asked for and has no effect."""
    if asked.get("momentum") and config.optimizer != "sgd":
        raise InvalidPlan(
            f"{of}momentum {config.momentum} has no effect on optimizer {config.optimizer!r}; "
            "choose optimizer sgd"
        )
    for name, effect in (
        ("patience", asked.get("patience")),
        ("keep", asked.get("keep") == "best"),
    ):
        if effect and split.valid_fraction == 0:
            raise InvalidPlan(
                f"{of}{name} {asked[name]} has no effect without a validation part; "
                "choose a valid_fraction above 0"
            )
