"""Tables as the answer to a request, in the format that it asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fastapi.responses import PlainTextResponse

from app.api.formats.csv_text import to_csv
from app.api.formats.html_page import to_html_page
from app.api.formats.markdown import to_markdown
from app.api.formats.table import Table

Format = Literal["json", "csv", "md", "html"]

# What a route that takes `format` says of its other answers.
FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "text/markdown": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
        }
    }
}


def served(
    tables: Sequence[Table], form: Format, *, title: str, next_cursor: str | None = None
) -> PlainTextResponse:
    """The tables as one document; in CSV one below the other.

    Args:
        next_cursor: Travels in the header X-Next-Cursor, since the document has no place for it.
    """
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    if next_cursor is not None:
        headers["X-Next-Cursor"] = next_cursor
    if form == "csv":
        return PlainTextResponse("\n".join(map(to_csv, tables)), media_type="text/csv", headers=headers)
    if form == "md":
        return PlainTextResponse(
            "\n".join(map(to_markdown, tables)), media_type="text/markdown", headers=headers
        )
    return PlainTextResponse(to_html_page(title, tables), media_type="text/html", headers=headers)
