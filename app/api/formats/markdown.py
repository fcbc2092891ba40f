"""Markdown tables for pull requests and job summaries."""

from __future__ import annotations

import re

from app.api.formats.table import Cell, Table, visible
from app.domain.sentences import number

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&:@])")


def to_markdown(table: Table) -> str:
    """The table with its title; every cell is plain text to any Markdown reader."""
    lines = [f"### {escaped(table.title)}", ""]
    lines.append("| " + " | ".join(escaped(column) for column in table.columns) + " |")
    marks = ("---:" if i in table.numeric else "---" for i in range(len(table.columns)))
    lines.append("| " + " | ".join(marks) + " |")
    lines.extend("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows)
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that no Markdown reader, HTML inside it, or workflow command (`::error::`) takes for more than text."""
    return (
        _SPECIAL.sub(r"\\\1", visible(text))
        .replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
    )


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return number(cell)
    return str(cell) if isinstance(cell, int) else escaped(cell)
