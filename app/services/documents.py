"""What may be stored: keys, names, texts and JSON that Postgres takes and gives back unchanged."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from app.domain.names import name_problem
from app.errors import InvalidInput

MAX_DEPTH = 64
MAX_NOTES_LENGTH = 65_536
MAX_STRING_LENGTH = 2**24
MAX_TAGS = 100
_KEY = re.compile(r"[A-Za-z0-9._-]{1,128}")
_INT64 = range(-(2**63), 2**63)


def checked_key(key: str, *, field: str) -> str:
    """The key of a project, run or suite.

    Raises:
        InvalidInput: It is not 1 to 128 of A-Z a-z 0-9 . _ -, or it is `.` or `..`, which browsers and HTTP
            clients take out of addresses.
    """
    if not _KEY.fullmatch(key) or key in (".", ".."):
        raise InvalidInput(
            "a key is 1 to 128 characters out of A-Z a-z 0-9 . _ - (and not just one or two dots)",
            field=field,
        )
    return key


def checked_name(name: str, *, field: str) -> str:
    """One line for people, without surrounding white space."""
    stripped = name.strip()
    if problem := name_problem(stripped):
        raise InvalidInput(problem, field=field)
    return stripped


def checked_tags(tags: tuple[str, ...], *, field: str) -> list[str]:
    """The tags in their order, each once."""
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"at most {MAX_TAGS} tags, not {len(tags)}", field=field)
    return list(dict.fromkeys(checked_name(tag, field=f"{field}.{i}") for i, tag in enumerate(tags)))


def checked_text(text: str, *, field: str, longest: int = MAX_NOTES_LENGTH) -> str:
    """Any text that Postgres can hold; line breaks are welcome."""
    if len(text) > longest:
        raise InvalidInput(f"at most {longest} characters, not {len(text)}", field=field)
    if problem := _text_problem(text):
        raise InvalidInput(problem, field=field)
    return text


def checked_int(number: int, *, field: str) -> int:
    if number not in _INT64:
        raise InvalidInput("must lie between -2^63 and 2^63 - 1; send a larger number as text", field=field)
    return number


def storable(document: Mapping[str, Any], *, field: str = "") -> dict[str, Any]:
    """A copy that a JSON column gives back equal; non-finite numbers are strings (NaN, Infinity, -Infinity).

    Args:
        field: Where the document stands in the request; empty when it is the whole.

    Raises:
        InvalidInput: A NUL, a lone surrogate, an integer beyond 64 bits, something that is not JSON, or more
            than MAX_DEPTH levels; the error's field is the dotted path.
    """
    return _members(document, field, 0)


def _storable(value: Any, field: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"at most {MAX_DEPTH} levels of nesting", field=field)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return checked_text(value, field=field, longest=MAX_STRING_LENGTH)
    if isinstance(value, int):
        return int(checked_int(value, field=field))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return _members(value, field, depth)
    if isinstance(value, list | tuple):
        return [_storable(item, f"{field}.{i}", depth + 1) for i, item in enumerate(value)]
    raise InvalidInput(f"{type(value).__name__} is not JSON", field=field)


def _members(document: Mapping[Any, Any], field: str, depth: int) -> dict[str, Any]:
    members = {}
    for key, value in document.items():
        if not isinstance(key, str):
            raise InvalidInput("the members of an object are named by text", field=field or None)
        if problem := _text_problem(key):
            raise InvalidInput(f"a member's name {problem}", field=field or None)
        members[key] = _storable(value, f"{field}.{key}" if field else key, depth + 1)
    return members


def _number(value: float) -> float | int | str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    # jsonb writes numbers without an exponent: 1.2345678901234567e18 would come back as an integer beside it.
    if abs(value) >= 1e16 and int(value) in _INT64:
        return int(value)
    # jsonb has no negative zero.
    return value + 0.0


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "must not contain NUL (U+0000), which Postgres cannot store"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must not contain half of a surrogate pair, which is no character"
    return None
