"""A table as a page of its own: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from app.api.formats.table import Cell, Table, visible
from app.domain.sentences import number

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
table { border-collapse: collapse; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th { text-align: left; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
"""


def to_html(table: Table) -> str:
    """The table as a complete HTML document."""
    return to_html_page(table.title, [table])


def to_html_page(title: str, tables: Sequence[Table]) -> str:
    """Several tables as one; a table that is called otherwise than the page gets a heading of its own."""
    shown = escape(visible(title))
    content = "".join(
        ("" if table.title == title else f"<h2>{escape(visible(table.title))}</h2>\n") + _table(table)
        for table in tables
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{shown}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{shown}</h1>\n{content}</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(_element("th", column, i in table.numeric) for i, column in enumerate(table.columns))
    rows = "".join(
        "<tr>" + "".join(_element("td", cell, i in table.numeric) for i, cell in enumerate(row)) + "</tr>\n"
        for row in table.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _element(tag: str, cell: Cell, is_number: bool) -> str:
    text = "" if cell is None else number(cell) if isinstance(cell, float) else visible(str(cell))
    # <bdi> keeps a right-to-left name from turning its neighbours round.
    inner = escape(text) if is_number or not text else f"<bdi>{escape(text)}</bdi>"
    return f"<{tag}{' class=n' if is_number else ''}>{inner}</{tag}>"
