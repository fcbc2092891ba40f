"""The kinds of column that the tables are made of, and how constraints are named."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, Text, TextClause, Uuid
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def at_column(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def text_column(
    name: str, *, nullable: bool = False, server_default: TextClause | None = None
) -> Column[Any]:
    return Column(name, Text, nullable=nullable, server_default=server_default)


def json_column(
    name: str, *, nullable: bool = False, server_default: TextClause | None = None
) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=nullable, server_default=server_default)


def project_column() -> Column[Any]:
    return Column("project_id", Uuid, nullable=False)


def one_of(name: str, column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)
