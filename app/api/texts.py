"""Texts out of paths and queries, which pass no body's check."""

from __future__ import annotations

from app.api.strict_json import text_problem
from app.errors import InvalidInput


def checked_text(text: str, field: str) -> str:
    """The text, unless Postgres could not hold it.

    Raises:
        InvalidInput: With the field's name.
    """
    if problem := text_problem(text):
        raise InvalidInput(problem, field=field)
    return text
