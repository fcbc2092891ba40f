"""Foreign text made safe to print, numbers made short, columns made straight."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from truerun.wire import number_of

# Control, format (bidirectional marks, zero-width), surrogate, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~])")
_TAME = re.compile(r"(?!.*::)[A-Za-z0-9 _.,=:/+()%-]*[A-Za-z0-9_.,=:/+()%-]")
LONGEST_CELL = 60


def visible(value: Any) -> str:
    """Text in which nothing hides: what a terminal would obey or swallow is spelled out."""
    return "".join(_seen(character) for character in str(value))


def safe_line(line: str) -> str:
    """A line that no CI system takes for a command, even when a hostile name stands at its beginning."""
    stripped = line.lstrip()
    if stripped.startswith("::"):
        line = line[: len(line) - len(stripped)] + ": :" + stripped[2:]
    return re.sub(r"##(?=\w*\[)", "# #", line)


def markdown(value: Any) -> str:
    """Text for a Markdown paragraph or table cell: no markup, no HTML, no mention, no CI command."""
    text = visible(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKDOWN.sub(r"\\\1", text)
    # An invisible joint keeps the letters and breaks what they would trigger.
    return text.replace("@", "@\u200b").replace("::", ":\u200b:").replace("://", ":\u200b//")


def code(value: Any) -> str:
    """A name as Markdown code where it is a plain one, else as harmless text."""
    text = visible(value)
    return f"`{text}`" if _TAME.fullmatch(text) else markdown(text)


def number(value: Any) -> str:
    """A number in at most six digits; a dash where there is none."""
    found = number_of(value)
    return "-" if found is None else f"{found:.6g}"


def change(value: Any) -> str:
    """A worsening in words; its sign is the service's, positive = worse whatever the direction."""
    worsening = number_of(value)
    if worsening is None:
        return "-"
    if worsening == 0:
        return "same"
    return f"{abs(worsening) * 100:.1f} % {'worse' if worsening > 0 else 'better'}"


def moment(value: Any) -> str:
    """A time of the service, to the minute."""
    return visible(value)[:16].replace("T", " ") if value else "-"


def width(text: str) -> int:
    """How many columns a terminal gives it."""
    return sum(_columns(character) for character in text)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, cut: bool = False, right: str = ""
) -> list[str]:
    """Lines of aligned columns.

    Args:
        cut: Whether to shorten long cells, for a person at a terminal.
        right: One character a column, `r` for those that align to the right.
    """
    shown = [[_shortened(cell) if cut else cell for cell in row] for row in (header, *rows)]
    widths = [max(width(row[i]) for row in shown) for i in range(len(header))]
    lines = []
    for row in shown:
        cells = []
        for i, cell in enumerate(row):
            space = " " * (widths[i] - width(cell))
            cells.append(space + cell if right[i : i + 1] == "r" else cell + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> list[str]:
    """The same as a Markdown table; the cells are Markdown already."""
    rule = ["--:" if right[i : i + 1] == "r" else "---" for i in range(len(header))]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def _seen(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}" if point < 65536 else f"\\U{point:08x}"


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _shortened(text: str) -> str:
    if width(text) <= LONGEST_CELL:
        return text
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > LONGEST_CELL - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"
