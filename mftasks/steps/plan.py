"""Resolve and validate every parameter of a run, once.

python -m mftasks plan --run-id try-1 --set networks='["mlp"]' --set epochs=3
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from mftasks import networks, params
from mftasks.data import catalog
from mftasks.errors import InvalidPlan, did_you_mean
from mftasks.records import DagRun, RunPlan, SplitConfig, TrainConfig
from mftasks.store.workspace import Workspace, run_key
from mftasks.version import code_version

log = logging.getLogger(__name__)

T = TypeVar("T")

SPLIT_FIELDS = ("fold", "test_fraction", "valid_fraction", "test_from", "as_of")
FITTING_STRATEGY = {"fold": "canonical", "test_fraction": "hash", "test_from": "temporal"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "canonical": {"fold": 1},
    "hash": {"test_fraction": 0.2},
    "temporal": {},
}
TRAIN_FIELDS = tuple(
    field for field in TrainConfig.__struct_fields__ if field not in ("network", "params")
)
NETWORK_FIELDS = ("factors", "hidden", "dropout", "biases", "center")


def plan(
    workspace: Workspace, run_id: str, given: Mapping[str, Any], dag_run: DagRun | None = None
) -> RunPlan:
    """Write the plan of a run from what a person gave; a plan that is there stays.

    Raises `InvalidPlan` for a parameter that is unknown or impossible, and for a run id that
    stands for other parameters already.
    """
    _check_run_id(run_id)
    key = run_key(run_id, "plan.json")
    there = workspace.find(key, RunPlan)
    if there is None:
        there = workspace.write(key, resolve(run_id, given, dag_run))
    else:
        log.info("run %s was planned at %s already", run_id, there.created_at)
    _check_same(there, given, dag_run)
    return there


def resolve(run_id: str, given: Mapping[str, Any], dag_run: DagRun | None = None) -> RunPlan:
    """Return the plan that `given` stands for, without writing it."""
    chosen = params.parse(given)
    if not catalog.is_uri(chosen.dataset):
        catalog.find(chosen.dataset)
    return RunPlan(
        run_id=run_id,
        dataset=chosen.dataset,
        split=_split(chosen),
        trainings=tuple(_trainings(chosen)),
        device=chosen.device,
        devices=chosen.devices,
        created_at=datetime.now(UTC),
        code_version=code_version(),
        given=_given(given),
        dag_run=dag_run,
    )


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, without what was left empty."""
    return {name: value for name, value in given.items() if value is not None}


def _check_same(there: RunPlan, given: Mapping[str, Any], dag_run: DagRun | None) -> None:
    """Refuse to go on with a run that was planned for something else.

    What a DAG run was given never changes, but an upgrade may add parameters to the form: so the
    DAG run decides where there is one.
    """
    if there.dag_run != dag_run:
        raise InvalidPlan(
            f"run {there.run_id!r} belongs to {_named(there.dag_run)}, not to {_named(dag_run)}: "
            "choose another run id"
        )
    if dag_run is None and there.given != _given(given):
        raise InvalidPlan(
            f"run {there.run_id!r} exists with other parameters, and a run never changes: "
            "choose another run id"
        )


def _named(dag_run: DagRun | None) -> str:
    return f"{dag_run.run_id!r} of DAG {dag_run.dag_id}" if dag_run else "the command line"


def _check_run_id(run_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", run_id):
        raise InvalidPlan(
            f"run id {run_id!r} must be 1 to 200 letters, digits, dots, dashes or underscores, "
            "and start with a letter or digit"
        )


def _split(chosen: params.Params) -> SplitConfig:
    split = catalog.default_split(chosen.dataset)
    strategy = chosen.split or _strategy_of(chosen) or split.strategy
    if strategy != split.strategy:
        split = SplitConfig(strategy=strategy, **DEFAULTS[strategy])
    if chosen.preset == "notebook":
        split = msgspec.structs.replace(split, valid_fraction=0.0)
    asked = {name: value for name in SPLIT_FIELDS if (value := getattr(chosen, name)) is not None}
    moments: dict[str, Any] = {
        name: _moment(name, asked[name]) for name in ("test_from", "as_of") if name in asked
    }
    config = _converted({**msgspec.to_builtins(split), **asked, **moments}, SplitConfig)
    _check_split(config, chosen)
    return config


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidPlan(f"{name} {text!r} is not a moment such as '1998-04-01'") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _strategy_of(chosen: params.Params) -> Any:
    """Return the strategy that a given parameter belongs to, so that it need not be named."""
    fitting = [FITTING_STRATEGY[name] for name in FITTING_STRATEGY if getattr(chosen, name)]
    return fitting[0] if fitting else None


def _check_split(config: SplitConfig, chosen: params.Params) -> None:
    for name, strategy in FITTING_STRATEGY.items():
        if getattr(chosen, name) is not None and config.strategy != strategy:
            raise InvalidPlan(f"{name} belongs to split {strategy!r}, not {config.strategy!r}")
    if config.strategy == "temporal" and config.test_from is None:
        raise InvalidPlan("split 'temporal' needs test_from, such as '1998-04-01'")
    if config.strategy == "canonical" and (
        catalog.default_split(chosen.dataset).strategy != "canonical"
    ):
        raise InvalidPlan(
            f"split 'canonical' has folds of ml-100k only, not of {chosen.dataset!r}; "
            "choose hash or temporal"
        )
    if config.strategy == "hash" and (config.test_fraction or 0) + config.valid_fraction >= 1:
        raise InvalidPlan(
            f"test_fraction {config.test_fraction} and valid_fraction {config.valid_fraction} "
            "leave nothing to train on; their sum must be below 1"
        )


def _trainings(chosen: params.Params) -> Iterator[TrainConfig]:
    names = networks.names() if not chosen.networks else tuple(dict.fromkeys(chosen.networks))
    for name in chosen.overrides:
        if name not in names:
            raise InvalidPlan(
                f"overrides for {name!r}, which is not trained{did_you_mean(name, names)}"
            )
    common = {
        name: value
        for name in (*TRAIN_FIELDS, *_network_fields(names))
        if (value := getattr(chosen, name, None)) is not None
    }
    _refuse_useless(common, chosen, names)
    for name in names:
        yield _training(name, chosen, common)


def _network_fields(names: tuple[str, ...]) -> tuple[str, ...]:
    fields = (networks.load(name).Params.__struct_fields__ for name in names)
    return tuple(dict.fromkeys(field for some in fields for field in some))


def _refuse_useless(
    common: Mapping[str, Any], chosen: params.Params, names: tuple[str, ...]
) -> None:
    """Refuse a network's parameter that no chosen network has."""
    for name in NETWORK_FIELDS:
        if getattr(chosen, name) is not None and name not in common:
            raise InvalidPlan(
                f"parameter {name!r} belongs to none of the networks {', '.join(names)}"
            )


def _training(name: str, chosen: params.Params, common: Mapping[str, Any]) -> TrainConfig:
    network = networks.load(name)
    preset = network.PRESETS[chosen.preset]
    own = network.Params.__struct_fields__
    asked = {key: value for key, value in common.items() if key in own or key in TRAIN_FIELDS}
    asked |= _override(name, chosen, own)
    values = {
        **msgspec.to_builtins(preset),
        **{key: value for key, value in asked.items() if key in TRAIN_FIELDS},
        "params": msgspec.to_builtins(
            _converted(
                {**preset.params, **{key: asked[key] for key in asked if key in own}},
                network.Params,
                f"network {name}: ",
            )
        ),
    }
    return _converted(values, TrainConfig, f"network {name}: ")


def _override(name: str, chosen: params.Params, own: tuple[str, ...]) -> dict[str, Any]:
    asked = chosen.overrides.get(name, {})
    known = (*TRAIN_FIELDS, *own)
    for key in asked:
        if key not in known:
            raise InvalidPlan(f"unknown parameter {key!r} of {name}{did_you_mean(key, known)}")
    return asked


def _converted(values: Mapping[str, Any], kind: type[T], where: str = "") -> T:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        given = {key: value for key, value in values.items() if value is not None}
        raise InvalidPlan(f"{where}{error}; given: {given}") from error
