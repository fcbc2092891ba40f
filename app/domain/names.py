"""Names of metrics, groups and tiers, and what to say about a misspelt key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_NAME_LENGTH = 256


def name_problem(name: object) -> str | None:
    """What is wrong with a metric's or group's name, to follow "a group's name …"; None when it is fine.

    Any printable text of 1 to 256 characters: names travel in queries and bodies only, never in a path.
    """
    if not isinstance(name, str) or not name:
        return "must be text of at least one character"
    if len(name) > MAX_NAME_LENGTH:
        return f"must have at most {MAX_NAME_LENGTH} characters, not {len(name)}"
    if not name.isprintable():
        return "must be printable: no control characters, line breaks or lone surrogates"
    return None


def field_part(key: object) -> str:
    """A key as part of a problem's field: printable and short, whatever was sent."""
    text = str(key)
    return (text if text.isprintable() else ascii(text)[1:-1])[:MAX_NAME_LENGTH]


def unknown_key(key: object, known: Iterable[str]) -> str:
    """`unknown key 'rel_to'; did you mean rel_tol?`"""
    names = list(known)
    near = difflib.get_close_matches(str(key), names, n=1)
    return f"unknown key {str(key)[:64]!r}; " + (
        f"did you mean {near[0]}?" if near else f"the keys are {', '.join(names)}"
    )
