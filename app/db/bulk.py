"""Many rows in one statement: INSERT … SELECT … FROM unnest(arrays)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, bindparam, cast, column, func, insert, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session

from app.db.engine import dump_strictly


def insert_columns(
    session: Session, table: Table, *, same: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]
) -> None:
    """Insert as many rows as the columns are long; a statement of fixed text, whatever their number.

    Args:
        same: Columns that hold the same value in every row.
        columns: The others, each as long as the others.
    """
    if not any(len(values) for values in columns.values()):
        return
    arrays, names = [], []
    picked: list[ColumnElement[Any]] = []
    for name, values in columns.items():
        kind = table.c[name].type
        if isinstance(kind, JSONB):
            arrays.append(
                bindparam(f"{name}_", [dump_strictly(value) for value in values], type_=ARRAY(Text))
            )
            names.append(column(name, Text))
            picked.append(cast(column(name, Text), JSONB))
        else:
            arrays.append(bindparam(f"{name}_", list(values), type_=ARRAY(kind)))
            names.append(column(name, kind))
            picked.append(column(name, kind))
    rows = func.unnest(*arrays).table_valued(*names).render_derived(name="rows")
    constants = [literal(value, table.c[name].type).label(name) for name, value in same.items()]
    session.execute(
        insert(table).from_select([*same, *columns], select(*constants, *picked).select_from(rows))
    )
