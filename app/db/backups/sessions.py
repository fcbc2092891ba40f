"""The driver's own connection, since COPY is nothing that SQLAlchemy knows; and the driver's complaints as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.db.backups.archive import BackupFailed


def driver_of(connection: Connection) -> psycopg.Connection:
    """psycopg's connection below; no transaction is open on it."""
    connection.rollback()
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"not psycopg's: {type(driver).__name__}")
    return driver


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say in a sentence what the database refused; the values in its complaint stay out."""
    try:
        yield
    except psycopg.Error as error:
        raise BackupFailed(_said(error)) from error
    except DBAPIError as error:
        raise BackupFailed(_said(error.orig or error)) from error


def _said(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"the database broke off: {first or type(error).__name__}"
