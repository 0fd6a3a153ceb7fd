"""What a network's exported symbol computes, as the few boxes that a person would draw.

Reshapes go without saying; an activation and a dropout belong to the dense layer before them; a
product that is summed is an inner product; sums of sums are one sum.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

INPUTS = ("users", "items")
SILENT = {"Reshape", "Flatten", "expand_dims", "squeeze", "Cast", "identity", "_copy", "BlockGrad"}
ADDING = {"elemwise_add", "broadcast_add", "_plus", "add_n"}
MULTIPLYING = {"elemwise_mul", "broadcast_mul", "_mul"}
SUMMING = {"sum", "dot"}
ADDING_A_NUMBER = {"_plus_scalar", "_PlusScalar"}


@dataclass
class Box:
    """Hold one step of the computation: what it is called, a detail, and what it works on."""

    kind: str
    title: str
    detail: str = ""
    sources: list[int] = field(default_factory=list)


class Graph:
    """Hold the boxes by number, each after its sources; the last one is the prediction."""

    def __init__(self, symbol: str) -> None:
        described = json.loads(symbol)
        self._nodes: list[dict[str, Any]] = described["nodes"]
        self._consumers = Counter(
            source[0] for node in self._nodes for source in node.get("inputs", [])
        )
        self._drawn_as: dict[int, int] = {}
        self.boxes: dict[int, Box] = {}
        for number, node in enumerate(self._nodes):
            self._add(number, node)
        head = self._drawn_as[described["heads"][0][0]]
        self.boxes[len(self._nodes)] = Box("output", "predicted rating", "", [head])

    def _add(self, number: int, node: dict[str, Any]) -> None:
        operation = node["op"]
        if operation == "null":
            if node["name"] in INPUTS:
                self._place(number, Box("input", node["name"].rstrip("s")))
            return
        sources = self._sources(node)
        if not sources:
            return  # a constant
        if operation in SILENT or self._joins(number, node, sources):
            self._drawn_as[number] = sources[0]
        elif operation in ADDING:
            self._place(number, self._sum(sources))
        else:
            self._place(number, self._box(node, sources))

    def _place(self, number: int, box: Box) -> None:
        self.boxes[number] = box
        self._drawn_as[number] = number

    def _sources(self, node: dict[str, Any]) -> list[int]:
        inputs = (source[0] for source in node["inputs"])
        return [self._drawn_as[one] for one in inputs if one in self._drawn_as]

    def _joins(self, number: int, node: dict[str, Any], sources: list[int]) -> bool:
        """Add to the only source's box what needs no box of its own; return whether it did."""
        if len(sources) != 1 or self._consumers[node["inputs"][0][0]] > 1:
            return False
        box, operation = self.boxes[sources[0]], node["op"]
        said = _attributes(node)
        if box.kind == "dense" and operation in ("Activation", "LeakyReLU"):
            box.title += f", {said.get('act_type', 'relu')}"
        elif box.kind == "dense" and operation == "Dropout":
            box.title += ", dropout"
        elif box.kind == "product" and operation in SUMMING:
            box.kind, box.title = "inner", "inner product"
        elif box.kind in ("sum", "inner") and not box.detail and operation in ADDING_A_NUMBER:
            box.detail = f"plus {float(said['scalar']):.2f}"
        else:
            return False
        return True

    def _sum(self, sources: list[int]) -> Box:
        """Make a sum, of which sums that nobody else uses become a part."""
        terms: list[int] = []
        for source in sources:
            box = self.boxes[source]
            if box.kind == "sum" and self._consumers[source] == 1:
                terms += self.boxes.pop(source).sources
            else:
                terms.append(source)
        return Box("sum", "+" if len(terms) == 2 else "sum", "", terms)

    def _box(self, node: dict[str, Any], sources: list[int]) -> Box:
        operation, said = node["op"], _attributes(node)
        if operation == "Embedding" and said["output_dim"] == "1":
            return Box("bias", "bias", f"{int(said['input_dim']):,}", sources)
        if operation == "Embedding":
            shape = f"{int(said['input_dim']):,} × {said['output_dim']}"
            return Box("embedding", "embedding", shape, sources)
        if operation == "FullyConnected":
            return Box("dense", "dense", self._shape(node), sources)
        if operation in MULTIPLYING:
            return Box("product", "×", "", sources)
        if operation == "Activation":
            return Box("activation", said["act_type"], "", sources)
        if operation == "Dropout":
            return Box("dropout", "dropout", f"{float(said['p']):g} in training", sources)
        if operation in ADDING_A_NUMBER:
            return Box("number", f"+ {float(said['scalar']):.2f}", "", sources)
        return Box("other", operation.strip("_").replace("_", " ").lower(), "", sources)

    def _shape(self, node: dict[str, Any]) -> str:
        weight = self._nodes[node["inputs"][1][0]]
        outputs, inputs = re.findall(r"\d+", _attributes(weight).get("__shape__", "(0, 0)"))
        return f"{inputs} → {outputs}"


def _attributes(node: dict[str, Any]) -> dict[str, str]:
    attributes: dict[str, str] = node.get("attrs", {})
    return attributes
