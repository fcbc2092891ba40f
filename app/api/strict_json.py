"""Reading JSON without surprises: what Postgres or a double cannot hold is refused here, with the field's name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from app.errors import InvalidInput, Problem

MAX_DEPTH = 64
_SHOWN_PROBLEMS = 20
_INT64 = range(-(2**63), 2**63)
_NON_FINITE = '; non-finite numbers travel as the strings "NaN", "Infinity" and "-Infinity"'


class _Object(dict[str, Any]):
    """A JSON object that remembers a key given twice, of which a plain dict keeps only the last."""

    repeated: str | None = None


class _Literal(float):
    """A number that JSON has no form for (`NaN`, `1e400`), kept until its path is known."""

    text: str = ""


def read_json(body: bytes) -> Any:
    """Parse a request's body.

    Raises:
        InvalidInput: Not UTF-8 or not JSON; or, field by field: nested too deeply, a key given twice, a number that is
            not finite or beyond a double, text with NUL or a lone surrogate.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"the body is not UTF-8 (byte {error.start}); send JSON encoded as UTF-8"
        ) from None
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_literal, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"the body is not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise InvalidInput(f"the body is nested too deeply; at most {MAX_DEPTH} levels are read") from None
    if _is_plain(document, text):
        return document
    problems = []
    for problem in _problems(document):
        problems.append(problem)
        if len(problems) == _SHOWN_PROBLEMS:
            break
    if problems:
        raise InvalidInput("the body holds values that cannot be stored", problems=problems)
    return document


def _is_plain(document: Any, text: str) -> bool:
    """Whether there is nothing to find; says so without a path to each value, which takes several times as long."""
    # NUL and halves of surrogate pairs can only come by an escape: UTF-8 and JSON refuse them as they are.
    if "\\u" in text:
        return False
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is _Object:
                if value.repeated is not None:
                    return False
                below.extend(value.values())
            elif kind is list:
                below.extend(value)
            elif kind is _Literal:
                return False
        if not below:
            return True
        level = below
    return False


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.repeated = key
                break
            seen.add(key)
    return found


def _literal(text: str) -> _Literal:
    number = _Literal("nan")
    number.text = text
    return number


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _literal(digits)


def _int(digits: str) -> int | float:
    # Python refuses to read thousands of digits as an int; nothing that we store needs more than 64 bits.
    number = int(digits) if len(digits) < 20 else None
    return number if number is not None and number in _INT64 else _float(digits)


def _problems(document: Any) -> Iterator[Problem]:
    """Everything that cannot be stored, walking without recursion."""
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, _Object | list):
            if depth == MAX_DEPTH:
                yield Problem(
                    field=_short(path), message=f"nested too deeply; at most {MAX_DEPTH} levels are read"
                )
                continue
            if isinstance(value, _Object):
                yield from _key_problems(path, value)
                members: Iterable[tuple[str, Any]] = value.items()
            else:
                members = ((str(i), member) for i, member in enumerate(value))
            waiting.extend((_joined(path, key), member, depth + 1) for key, member in members)
        elif isinstance(value, _Literal):
            yield Problem(field=path or None, message=f"{value.text[:40]} is not a JSON number{_NON_FINITE}")
        elif isinstance(value, str) and (problem := text_problem(value)):
            yield Problem(field=path or None, message=problem)


def _key_problems(path: str, found: _Object) -> Iterator[Problem]:
    if found.repeated is not None:
        message = "given twice in the same object; give it once"
        yield Problem(field=_joined(path, found.repeated), message=message)
    for key in found:
        if problem := text_problem(key):
            yield Problem(field=path or None, message=f"a key {problem}")


def text_problem(text: str) -> str | None:
    """Why Postgres could not hold the text, or None."""
    if "\x00" in text:
        return "holds a NUL character, which cannot be stored; remove it"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair, which is no character; send the whole character"
    return None


def _joined(path: str, key: str) -> str:
    shown = key.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:80]
    return f"{path}.{shown}" if path else shown


def _short(path: str) -> str:
    return path if len(path) <= 120 else path[:117] + "..."
