"""Each network as a drawing: users on the left, items on the right, down to where they meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from mftasks.plots.graph import Box, Graph

WIDTH = 124
NARROW = 72
HEIGHT = 38
ROW = 58
GAP = 60
BETWEEN = 16
ROUND = 13
BEND = 16
LETTER = 6.2


class Place(NamedTuple):
    """Hold where a box is: its middle, half its width, and its side (-1 left, 1 right, 0 both)."""

    x: float
    y: float
    half: float
    side: int
    column: int


def diagram(network: str, symbol: str) -> str:
    """Return the drawing of an exported symbol as SVG, with its content in words for readers."""
    graph = Graph(symbol)
    places = _places(graph.boxes)
    width = max(abs(place.x) + place.half for place in places.values()) + 2
    height = max(place.y for place in places.values()) + HEIGHT / 2 + 2
    drawn = "".join([*_edges(graph.boxes, places), *_boxes(graph.boxes, places)])
    words = escape(f"{network}: {_in_words(graph.boxes, places)}")
    return (
        f'<svg class="diagram" viewBox="{-width:.0f} 0 {2 * width:.0f} {height:.0f}" '
        f'style="max-width:{2 * width:.0f}px" role="img" aria-label="{words}">{drawn}</svg>'
    )


def _places(boxes: dict[int, Box]) -> dict[int, Place]:
    ranks, sides = _ranks(boxes), _sides(boxes)
    to_go = _steps_to_go(boxes)
    taken: Counter[tuple[int, int]] = Counter()
    places = {}
    for number in sorted(boxes, key=lambda number: (ranks[number], -to_go[number])):
        side, rank = sides[number], ranks[number]
        column = taken[side, rank]
        taken[side, rank] += 1
        half = _half(boxes[number], column)
        x = side * _across(column) if side else column * (WIDTH + BETWEEN)
        places[number] = Place(x, rank * ROW + HEIGHT / 2 + 1, half, side, column)
    return places


def _across(column: int) -> float:
    """Return how far from the middle a column of a side is; columns after the first are narrow."""
    first = (GAP + WIDTH) / 2
    return first if column == 0 else first + (WIDTH - NARROW) / 2 + column * (NARROW + BETWEEN)


def _half(box: Box, column: int) -> float:
    if len(box.title) == 1 and not box.detail:
        return ROUND
    least = (NARROW if column else WIDTH) / 2
    return max(least, min(len(box.title), 30) * LETTER / 2 + 8)


def _ranks(boxes: dict[int, Box]) -> dict[int, int]:
    """Return how many steps each box is below the inputs, by the longest way."""
    ranks: dict[int, int] = {}
    for number, box in boxes.items():
        ranks[number] = 1 + max((ranks[source] for source in box.sources), default=-1)
    return ranks


def _steps_to_go(boxes: dict[int, Box]) -> dict[int, int]:
    steps = dict.fromkeys(boxes, 0)
    for number in reversed(boxes):
        for source in boxes[number].sources:
            steps[source] = max(steps[source], steps[number] + 1)
    # A bias may be as far from the end as the embedding beside it: the embedding goes inside.
    return {number: 2 * steps[number] - (boxes[number].kind == "bias") for number in boxes}


def _sides(boxes: dict[int, Box]) -> dict[int, int]:
    from_inputs: dict[int, set[str]] = {}
    for number, box in boxes.items():
        own = {box.title} if box.kind == "input" else set()
        from_inputs[number] = own.union(*(from_inputs[source] for source in box.sources))
    side = {frozenset({"user"}): -1, frozenset({"item"}): 1}
    return {number: side.get(frozenset(some), 0) for number, some in from_inputs.items()}


def _edges(boxes: dict[int, Box], places: dict[int, Place]) -> Iterator[str]:
    for number, box in boxes.items():
        for source in box.sources:
            yield f'<path class="edge" d="{_way(places[source], places[number])}"/>'


def _way(start: Place, end: Place) -> str:
    """Return the path of an edge: straight down, around what lies between, or in from the side."""
    below, above = start.y + _half_height(start), end.y - _half_height(end)
    middle = (below + above) / 2
    next_row = end.y - start.y <= ROW
    if start.x == end.x and next_row:
        return _path("M", start.x, below, "V", above)
    if start.x == end.x:
        return _around(start, end)
    if start.side == end.side or (next_row and start.column == 0):
        landing = end.x if start.side == end.side else end.x + start.side * min(end.half, 24)
        return _path("M", start.x, below, "C", start.x, middle, landing, middle, landing, above)
    turn = start.x - start.side * BEND
    into = end.x + start.side * end.half
    corner = ("Q", start.x, end.y, turn, end.y)
    return _path("M", start.x, below, "V", end.y - BEND, *corner, "H", into)


def _around(start: Place, end: Place) -> str:
    """Return the path of a residual: out on the inner side, down past the boxes, and back in."""
    inward = -start.side or 1
    far = start.x + inward * (WIDTH / 2 + GAP / 3)
    turn = far - inward * BEND / 2
    return _path(
        *("M", start.x + inward * start.half, start.y, "H", turn),
        *("Q", far, start.y, far, start.y + BEND, "V", end.y - BEND),
        *("Q", far, end.y, turn, end.y, "H", end.x + inward * end.half),
    )


def _half_height(place: Place) -> float:
    return ROUND if place.half == ROUND else HEIGHT / 2


def _path(*parts: str | float) -> str:
    return " ".join(part if isinstance(part, str) else f"{part:.1f}" for part in parts)


def _boxes(boxes: dict[int, Box], places: dict[int, Place]) -> Iterator[str]:
    for number, box in boxes.items():
        place = places[number]
        x, y, half = place.x, place.y, place.half
        if half == ROUND:
            yield f'<circle class="box" cx="{x:.1f}" cy="{y:.1f}" r="{ROUND}"/>'
        else:
            yield (
                f'<rect class="box {box.kind}" x="{x - half:.1f}" y="{y - HEIGHT / 2:.1f}" '
                f'width="{2 * half:.1f}" height="{HEIGHT}" rx="7"/>'
            )
        up = 6 if box.detail else 0
        yield f'<text class="title" x="{x:.1f}" y="{y - up:.1f}">{escape(box.title)}</text>'
        if box.detail:
            yield f'<text class="detail" x="{x:.1f}" y="{y + 10:.1f}">{escape(box.detail)}</text>'


def _in_words(boxes: dict[int, Box], places: dict[int, Place]) -> str:
    def said(side: int, column: int = 0) -> str:
        some = [
            box
            for number, box in boxes.items()
            if places[number].side == side and places[number].column == column
        ]
        return ", ".join(f"{box.title} {box.detail}".strip() for box in some)

    return f"{said(-1)}; {said(1)}; both meet in {said(0)}"
