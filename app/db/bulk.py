"""Many rows in one statement: INSERT … SELECT … FROM json_to_recordset(one parameter).

Measured with the 269 checks of a post on a busy machine: 5.5 ms, against 9.1 ms with an array a column for `unnest`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Double,
    LargeBinary,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from app.db.engine import dump_strictly
from app.domain.record import number_to_json


def insert_columns(
    session: Session, table: Table, *, same: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]
) -> None:
    """Insert as many rows as the columns are long; a statement of fixed text, whatever their number.

    Args:
        same: Columns that hold the same value in every row.
        columns: The others, each as long as the others. Plain types only; no arrays, times or UUIDs.
    """
    if not any(len(values) for values in columns.values()):
        return
    # Short names, since each is written once a row.
    short = {name: f"c{i}" for i, name in enumerate(columns)}
    written = [_written(table.c[name].type, values) for name, values in columns.items()]
    content = dump_strictly(
        [dict(zip(short.values(), row, strict=True)) for row in zip(*written, strict=True)]
    )
    rows = (
        func.json_to_recordset(cast(bindparam("rows", content, type_=Text), JSON))
        .table_valued(*(column(short[name], table.c[name].type) for name in columns))
        .render_derived(name="rows", with_types=True)
    )
    constants = [literal(value, table.c[name].type).label(name) for name, value in same.items()]
    picked = [rows.c[short[name]] for name in columns]
    session.execute(
        insert(table).from_select([*same, *columns], select(*constants, *picked).select_from(rows))
    )


def _written(kind: TypeEngine[Any], values: Sequence[Any]) -> Sequence[Any]:
    """The values as JSON that Postgres reads back into the column's type."""
    if isinstance(kind, Double):
        return [value if value is None or math.isfinite(value) else number_to_json(value) for value in values]
    if isinstance(kind, LargeBinary):
        return [_hexadecimal(value) for value in values]
    return values


def _hexadecimal(value: bytes | None) -> str | None:
    return None if value is None else f"\\x{value.hex()}"
