"""What can go wrong with a request, in the words of the field; status codes belong to `api/errors.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one field.

    Args:
        field: Where, as a dotted path into the request (`values.3.metric`, `[[rule]] 2 rel_tol`); None for the whole.
        message: What is wrong and the way out.
    """

    field: str | None
    message: str


class TruerunError(Exception):
    """Base of every error that a caller can do something about."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class NotFound(TruerunError):
    """The thing does not exist, or belongs to a project that the caller may not know of."""


class Conflict(TruerunError):
    """The request contradicts what is stored; `reasons` says each contradiction on its own line."""

    def __init__(self, message: str, *, field: str | None = None, reasons: Iterable[str] = ()) -> None:
        super().__init__(message, field=field)
        self.reasons = tuple(reasons)


class OutOfOrder(Conflict):
    """Records came that others have to come before; `expected` is the number of the first that is missing."""

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__(message, field="first")
        self.expected = expected


class InvalidInput(TruerunError):
    """The request cannot be understood; `problems` names every field that is wrong."""

    def __init__(self, message: str, *, field: str | None = None, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message, field=field)
        self.problems = tuple(problems) or (Problem(field=field, message=message),)


class Forbidden(TruerunError):
    """The caller is known and may not do this."""
