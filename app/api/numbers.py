"""Numbers and texts as they travel: strict, non-finite by name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_NAMES = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_NUMBER_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "string", "enum": list(_NAMES)}]}


def _number(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _NAMES:
            raise ValueError('must be a number, or one of the strings "NaN", "Infinity", "-Infinity"')
        return _NAMES[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError('must be a number, or one of the strings "NaN", "Infinity", "-Infinity"')  # noqa: TRY004
    return float(value)


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        # pydantic turns a ValueError into a problem of the field, and lets a TypeError through.
        raise ValueError("must be a whole number within 64 bits")  # noqa: TRY004
    return value


Number = Annotated[float, BeforeValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]
INT64_MAX = 2**63 - 1
Whole = Annotated[int, BeforeValidator(_whole), Field(ge=-(2**63), le=INT64_MAX)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=INT64_MAX)]
MAX_NAME = 256
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Reason = Annotated[str, Field(min_length=1, max_length=2000)]
