"""What a network consists of: its blocks as Gluon holds them, with the parameters of each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from mftasks.mx import gluon
from mftasks.records import Layer

SEQUENCES = (gluon.nn.HybridSequential, gluon.nn.Sequential)


def describe(name: str, block: Any) -> Layer:
    """Describe an initialised `block` and the blocks inside it; a sequence dissolves into its parts."""
    kind, detail = _read_repr(block)
    children = tuple(_describe_children(block))
    own = () if detail and not children else tuple(_describe_parameters(block))
    return Layer(
        name=name,
        kind=kind,
        detail="" if children else detail,
        n_parameters=sum(math.prod(one.shape) for one in block.collect_params().values()),
        layers=children + own,
    )


def _describe_children(block: Any) -> Iterator[Layer]:
    for name, child in block._children.items():  # noqa: SLF001  # Gluon has no public list
        if isinstance(child, SEQUENCES):
            yield from _describe_children(child)
        else:
            yield describe(name, child)


def _describe_parameters(block: Any) -> Iterator[Layer]:
    """Describe the parameters that a block looks up by itself, without a block of Gluon's."""
    for name, parameter in getattr(block, "_reg_params", {}).items():
        yield Layer(
            name=name,
            kind=name,
            detail=" × ".join(map(str, parameter.shape)),
            n_parameters=math.prod(parameter.shape),
        )


def _read_repr(block: Any) -> tuple[str, str]:
    """Return what Gluon calls a block, and its first figure, as `Dense` and `64 → 32`."""
    kind = type(block).__name__.strip("_")
    found = re.fullmatch(r"\w+\(([^,)\n]+).*\)", repr(block), re.DOTALL)
    detail = found[1].strip().replace("->", "→") if found else ""
    return kind, re.sub(r"\d+\.\d{5,}", lambda number: f"{float(number[0]):.4g}", detail)
