"""A table before it has a format."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells; numbers stay numbers so that each format can align and write them its own way.

    Args:
        numeric: Which columns hold numbers, by index.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()


def visible(text: str) -> str:
    """The text with characters that would hide, reorder or break it made visible as `\\u202e`.

    Controls, line and paragraph separators, and formatting characters (right-to-left overrides, zero-width ones).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
    return character
