"""Where a command's words go: tables for people, JSON for machines, messages to stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from truerun.cli.text import LONGEST_CELL, safe_line, table, visible, width

_COLOURS = {"open": "32", "closed": "31", "undecided": "33"}


class Output:
    """The command's standard output and error."""

    def __init__(self, *, as_json: bool, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self.is_terminal = self._stdout.isatty()
        self._has_colour = (
            self.is_terminal
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") not in ("dumb", None)
        )
        for stream in (self._stdout, self._stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if callable(reconfigure):
                # A terminal that does not know a letter must not end the command.
                reconfigure(errors="backslashreplace")

    def document(self, document: Any) -> None:
        """The answer for a machine."""
        text = json.dumps(document, indent=2, ensure_ascii=False)
        # Inside a string, where alone it can occur, the bracket may also be written as an escape.
        text = text.replace("##[", "##\\u005b").encode("utf-8", "backslashreplace").decode()
        self._stdout.write(text + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._stdout.write(safe_line(line) + "\n")

    def raw(self, text: str) -> None:
        """A file's content, as it is."""
        self._stdout.write(text if text.endswith("\n") or not text else text + "\n")

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[Any]], *, right: str = "", empty: str = ""
    ) -> None:
        """Aligned columns of foreign text; `empty` is said to people when there is no row."""
        cells = [[visible(cell) for cell in row] for row in rows]
        if cells:
            self.lines(self._coloured(table(header, cells, cut=self.is_terminal, right=right)))
        elif empty:
            self.note(empty)

    def beside(self, names: Sequence[str], keys: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Aligned columns, one for each of `keys` behind those that name the rows.

        What does not fit a terminal's width goes into another table below, with the names repeated.
        """
        cells = [[visible(cell) for cell in row] for row in ((*names, *keys), *rows)]
        for columns in self._fitting(cells, len(names)):
            header, *shown = [[row[i] for i in columns] for row in cells]
            if columns[len(names)] > len(names):
                self.lines([""])
            self.lines(self._coloured(table(header, shown, cut=self.is_terminal)))

    def file(self, text: str, form: str) -> None:
        """A document of the service: lines for a person's or a build's log, anything else as it is."""
        self.lines(text.splitlines()) if form == "md" else self.raw(text)

    def _fitting(self, cells: Sequence[Sequence[str]], fixed: int) -> list[list[int]]:
        """Which columns stand side by side: the first `fixed` in each table, the others in turn."""
        every = range(fixed, len(cells[0]))
        if not self.is_terminal:
            return [[*range(fixed), *every]]
        widths = [min(max(width(row[i]) for row in cells), LONGEST_CELL) + 2 for i in range(len(cells[0]))]
        room = shutil.get_terminal_size().columns + 2 - sum(widths[:fixed])
        tables: list[list[int]] = [[]]
        for i in every:
            if tables[-1] and sum(widths[j] for j in (*tables[-1], i)) > room:
                tables.append([])
            tables[-1].append(i)
        return [[*range(fixed), *columns] for columns in tables]

    def note(self, message: str) -> None:
        """A message for the person, never part of the result."""
        for line in message.split("\n"):
            self._stderr.write(safe_line(visible(line)) + "\n")

    def gate(self, gate: str) -> str:
        colour = _COLOURS.get(gate)
        return f"\x1b[1;{colour}m{gate}\x1b[0m" if self._has_colour and colour else visible(gate)

    def _coloured(self, lines: list[str]) -> list[str]:
        if self._has_colour and lines:
            lines[0] = f"\x1b[2m{lines[0]}\x1b[0m"
        return lines
