r"""The file of a backup: gzip around text that a person can read and `psql` can load, if need be.

    {"format": "truerun-backup", "version": 1, "schema": "0001", "tables": […], …}
    {"table": "project", "columns": ["id", …]}
    (rows as Postgres' COPY writes them, a line each)
    \.
    {"rows": 3, "sha256": "…"}
    (the other tables alike)
    {"end": true, "tables": 18, "rows": 1234, "sha256": "…"}

Each table carries the digest of its lines, and the last line that of everything before it: a file that was cut off or
has a wrong byte anywhere is never taken for a whole one.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

FORMAT = "truerun-backup"
VERSION = 1
# How hard zlib tries. Measured on 100,000 evaluations: see docs/decisions/0011.
LEVEL = 4
_END_OF_ROWS = b"\\.\n"
# Postgres' own limit for one value, so no row that was written is refused for its length.
_LONGEST_LINE = 2**30


class BackupFailed(RuntimeError):
    """A backup could not be written, read or loaded; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Where a column counts on. next: the number that the next row gets."""

    table: str
    column: str
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a backup is of.

    Args:
        schema: The migration that the tables were at.
        release: Of the service that wrote it.
        made_at: ISO 8601, UTC.
        tables: In the order of the file, referenced ones before those that refer to them.
    """

    schema: str
    release: str
    made_at: str
    postgres: str
    tables: tuple[str, ...]
    identities: tuple[Identity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What one table holds. sha256: of its rows as lines of COPY, in the order of the primary key."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    header: Header
    tables: Mapping[str, Total]

    @property
    def rows(self) -> int:
        return sum(total.rows for total in self.tables.values())


class Writer:
    """Writes an archive to a binary file, in one pass."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._press = zlib.compressobj(LEVEL, wbits=31)
        self._digest = hashlib.sha256()
        self._totals: list[Total] = []
        self.bytes_written = 0

    def begin(self, header: Header) -> None:
        self._line({"format": FORMAT, "version": VERSION, **asdict(header)})

    def table(self, name: str, columns: Sequence[str], chunks: Iterable[bytes]) -> Total:
        """Write one table.

        Args:
            chunks: Whole rows as COPY gives them; several to a chunk.
        """
        self._line({"table": name, "columns": list(columns)})
        digest, rows = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            # A newline inside a value is written as \n, so every newline ends a row.
            rows += chunk.count(b"\n")
            self._write(chunk)
        self._write(_END_OF_ROWS)
        total = Total(rows=rows, sha256=digest.hexdigest())
        self._line(asdict(total))
        self._totals.append(total)
        return total

    def end(self) -> None:
        rows = sum(total.rows for total in self._totals)
        self._line(
            {"end": True, "tables": len(self._totals), "rows": rows, "sha256": self._digest.hexdigest()}
        )
        self._put(self._press.flush())

    def _line(self, document: Mapping[str, Any]) -> None:
        self._write(json.dumps(document, ensure_ascii=False).encode() + b"\n")

    def _write(self, content: bytes) -> None:
        self._digest.update(content)
        self._put(self._press.compress(content))

    def _put(self, pressed: bytes) -> None:
        self._file.write(pressed)
        self.bytes_written += len(pressed)


class Reader:
    """Reads an archive in one pass: `header`, then `tables()` to its end.

    Raises:
        BackupFailed: From every method, where the file is no backup, was cut off, or was changed.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._lines = gzip.GzipFile(fileobj=file)
        self._digest = hashlib.sha256()
        self.header = self._read_header()

    def tables(self) -> Iterator[Table]:
        """Each table in turn; its rows have to be read before the next one is asked for."""
        totals = []
        for name in self.header.tables:
            opening = self._document()
            if opening.get("table") != name:
                raise _damaged(f"table {name} is not where it belongs")
            columns = opening.get("columns")
            if not isinstance(columns, list):
                raise _damaged(f"the columns of table {name} are not where they belong")
            table = Table(name=name, columns=tuple(columns), reader=self)
            yield table
            totals.append(table.total())
        so_far = self._digest.hexdigest()
        if self._document() != {
            "end": True,
            "tables": len(totals),
            "rows": sum(total.rows for total in totals),
            "sha256": so_far,
        }:
            raise _damaged("its digest is not that of its contents")
        if self._line() is not None:
            raise _damaged("something follows its end")

    def rows(self) -> Iterator[bytes]:
        """The lines of the table that was just opened, without the line that ends them."""
        while (line := self._some_line()) != _END_OF_ROWS:
            yield line

    def read_total(self) -> Total:
        document = self._document()
        try:
            return Total(rows=int(document["rows"]), sha256=str(document["sha256"]))
        except (KeyError, TypeError, ValueError):
            raise _damaged("the end of a table is missing") from None

    def _read_header(self) -> Header:
        try:
            document = self._document()
        except BackupFailed as error:
            raise BackupFailed(f"this is no backup of Truerun, or it was damaged: {error}") from error
        if document.get("format") != FORMAT:
            raise BackupFailed("this is no backup of Truerun")
        if document.get("version") != VERSION:
            raise BackupFailed(
                f"this backup has format {document.get('version')}, and this release reads format {VERSION}; "
                f"restore it with the release that made it, {document.get('release')}, or a later one"
            )
        try:
            return Header(
                schema=document["schema"],
                release=document["release"],
                made_at=document["made_at"],
                postgres=document["postgres"],
                tables=tuple(document["tables"]),
                identities=tuple(Identity(**each) for each in document["identities"]),
            )
        except (KeyError, TypeError):
            raise _damaged("its first line is not whole") from None

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self._some_line())
        except ValueError:
            raise _damaged("a line between the tables cannot be read") from None
        if not isinstance(document, dict):
            raise _damaged("a line between the tables cannot be read")
        return document

    def _some_line(self) -> bytes:
        line = self._line()
        if line is None:
            raise _cut_off()
        return line

    def _line(self) -> bytes | None:
        """The next line; None at the end of the file."""
        try:
            line = self._lines.readline(_LONGEST_LINE)
        except EOFError:
            raise _cut_off() from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise _damaged(str(error)) from None
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise _damaged("a line has no end")
        self._digest.update(line)
        return line


class Table:
    """One table of an archive that is being read."""

    def __init__(self, *, name: str, columns: tuple[str, ...], reader: Reader) -> None:
        self.name = name
        self.columns = columns
        self._reader = reader
        self._total: Total | None = None

    def rows(self) -> Iterator[bytes]:
        """Every row as a line of COPY; compared with the digest behind the last one.

        Raises:
            BackupFailed: After the last row, when they are not what was written.
        """
        digest, rows = hashlib.sha256(), 0
        for line in self._reader.rows():
            digest.update(line)
            rows += 1
            yield line
        read = Total(rows=rows, sha256=digest.hexdigest())
        if self._reader.read_total() != read:
            raise _damaged(f"the rows of table {self.name} are not those that were written")
        self._total = read

    def total(self) -> Total:
        if self._total is None:
            raise RuntimeError(f"the rows of {self.name} were not read")
        return self._total


def check(file: BinaryIO) -> Contents:
    """Read a backup to its end without a database.

    Raises:
        BackupFailed: It is not whole.
    """
    reader = Reader(file)
    totals = {}
    for table in reader.tables():
        for _ in table.rows():
            pass
        totals[table.name] = table.total()
    return Contents(header=reader.header, tables=totals)


def _damaged(what: str) -> BackupFailed:
    return BackupFailed(f"the backup is damaged ({what}); take another copy of it, or an earlier one")


def _cut_off() -> BackupFailed:
    return BackupFailed("the backup is cut off before its end; take another copy of it, or an earlier one")
