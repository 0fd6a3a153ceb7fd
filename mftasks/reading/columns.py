"""Which column holds the users, the items, the ratings and the times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mftasks.errors import InvalidDataset, did_you_mean, quote

if TYPE_CHECKING:
    from mftasks.records import Column

ROLES: tuple[Column, ...] = ("user", "item", "rating", "timestamp")
NEEDED = ROLES[:3]
_MOST_NAMES = 10

_THINGS = (
    "item movie book product anime song track artist game business restaurant place recipe joke film "
    "article wine beer show course hotel podcast app store perfume"
)
_PEOPLE = "user customer reviewer member reader account client buyer visitor person profile rater"


def _with_id(words: str) -> list[str]:
    found = words.split()
    return [f"{word}{end}" for end in ("id", "") for word in found]


# Names as they are once case, blanks and `-_.` are taken away; of several, the first counts.
USUAL: dict[Column, Sequence[str]] = {
    "user": (*_with_id(_PEOPLE), "uid", "username", "profilename", "reviewername", "u"),
    "item": (
        *_with_id(_THINGS),
        *("isbn", "isbn13", "asin", "parentasin", "appid", "gmapid", "iid", "mid", "sku", "title"),
        *("itemname", "productname", "moviename", "booktitle", "movietitle", "name", "i"),
    ),
    "rating": (
        *("rating", "ratings", "userrating", "bookrating", "movierating", "reviewrating"),
        *("ratingvalue", "ratingscore", "reviewoverall", "overall", "overallrating", "score"),
        *("scores", "reviewscore", "stars", "starrating", "star", "grade", "feedback", "value"),
        *("preference", "weight", "playcount", "plays", "hours", "r"),
    ),
    "timestamp": (
        *("timestamp", "unixreviewtime", "ratingtimestamp", "datetime", "ratingtime", "reviewtime"),
        *("time", "date", "ratingdate", "reviewdate", "createdat", "ratedat", "dateadded"),
        *("submitted", "created", "tstamp", "ts", "when", "t"),
    ),
}


class Found(NamedTuple):
    """Positions of columns from 0, and sentences on what is not certain."""

    columns: dict[Column, int]
    guesses: tuple[str, ...] = ()


def fold(name: str) -> str:
    """Return a name without case, blanks, punctuation, and the type that RecBole adds to it."""
    return re.sub(r"[\W_]+", "", name.partition(":")[0].casefold())


def find_usual(names: Sequence[str]) -> dict[Column, list[int]]:
    """Return the positions of the columns whose name is usual for a role, the most usual first."""
    folded = [fold(name) for name in names]
    return {
        role: [place for word in words for place, name in enumerate(folded) if name == word]
        for role, words in USUAL.items()
    }


def find_by_name(names: Sequence[str], given: Mapping[Column, str | int]) -> Found:
    """Return the columns of a file with a header; raises `InvalidDataset` if one is not found."""
    found = {role: _find_given(role, names, name) for role, name in given.items()}
    guesses = []
    for role, places in find_usual(names).items():
        free = [place for place in places if place not in found.values()]
        if role in found or not free:
            continue
        same = [place for place in free if fold(names[place]) == fold(names[free[0]])]
        if len(same) > 1:
            raise InvalidDataset(
                f"column {quote(names[free[0]])} is there twice, as columns {same[0] + 1} and "
                f'{same[1] + 1}; name one by its position: columns {{"{role}": {same[0] + 1}}}'
            )
        found[role] = free[0]
        if len(free) > 1 and role in NEEDED:
            others = " or ".join(quote(names[place]) for place in free[1:3])
            guesses.append(f"column {quote(names[free[0]])} is taken for the {role}, not {others}")
    _refuse_missing(found, names)
    _refuse_shared(found)
    return Found(found, tuple(guesses))


def find_by_position(n_columns: int, given: Mapping[Column, str | int], guessed: Found) -> Found:
    """Return the columns of a file without header: those given, else those guessed by content."""
    names = [f"column {place + 1}" for place in range(n_columns)]
    found = {role: _find_given(role, names, name) for role, name in given.items()}
    for role, place in guessed.columns.items():
        if role not in found and place not in found.values():
            found[role] = place
    _refuse_missing(found, names)
    _refuse_shared(found)
    if set(found) <= set(given):
        return Found(found)
    listed = ", ".join(f"{found[role] + 1} for the {role}" for role in ROLES if role in found)
    return Found(found, (f"the file has no header: column {listed}", *guessed.guesses))


def describe(names: Sequence[str]) -> str:
    """Return the first few names; a line of data is not repeated, as messages are sent around."""
    if not any(names):
        return "an empty first line"
    if not all(re.fullmatch(r"[^\W\d][\w .:-]{0,39}|column \d+|", name) for name in names):
        return f"a first line of {len(names):,} columns that do not look like names"
    rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + rest


def _find_given(role: str, names: Sequence[str], given: str | int) -> int:
    if isinstance(given, int):
        if not 1 <= given <= len(names):
            raise InvalidDataset(
                f"columns: the {role} cannot be column {given}, as the file has {len(names)}"
            )
        return given - 1
    exact = [place for place, name in enumerate(names) if name == given]
    places = exact or [place for place, name in enumerate(names) if fold(name) == fold(given)]
    if not places:
        hint = did_you_mean(given, [name[:40] for name in names[:_MOST_NAMES]])
        raise InvalidDataset(f"columns: no column {quote(given)} for the {role}{hint}")
    return places[0]


def _refuse_missing(found: Mapping[Column, int], names: Sequence[str]) -> None:
    missing = [role for role in NEEDED if role not in found]
    if missing:
        known = ", ".join(f"{role} is {quote(names[place])}" for role, place in found.items())
        example = ", ".join(f'"{role}": …' for role in missing)
        raise InvalidDataset(
            f"no column for the {' and the '.join(missing)}; found: {describe(names)}"
            f"{known and f' ({known})'}; say which it is, by name or position: columns {{{example}}}"
        )


def _refuse_shared(found: Mapping[Column, int]) -> None:
    for role, place in found.items():
        others = [other for other in found if other != role and found[other] == place]
        if others:
            raise InvalidDataset(
                f"columns: column {place + 1} cannot be both the {role} and the {others[0]}"
            )
