"""From a database into a file, while everybody goes on working."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from typing import BinaryIO

import psycopg

from app.db import migrate
from app.db.backups import catalog
from app.db.backups.archive import BackupFailed, Contents, Header, Writer
from app.db.backups.sessions import driver_of, told


def dump(database_url: str, file: BinaryIO, *, now: datetime, say: Callable[[str], None]) -> Contents:
    """Write every row of one moment; nobody waits for it but migrations.

    Args:
        file: Written once, from its beginning; not closed.
        say: Told of each table that is done.

    Raises:
        BackupFailed: There is nothing to back up, or the database broke off.
    """
    with told(), migrate.connected(database_url) as connection:
        # Before the snapshot is taken: a migration that is at work ends first, the next one begins afterwards.
        migrate.take_lock(connection, shared=True)
        driver = driver_of(connection)
        driver.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        driver.read_only = True
        with driver.transaction():
            catalog.speak_plainly(driver)
            return _written(driver, Writer(file), now, say)


def _written(
    driver: psycopg.Connection, writer: Writer, now: datetime, say: Callable[[str], None]
) -> Contents:
    revision = catalog.schema_revision(driver)
    if revision is None:
        raise BackupFailed(
            "this database has no tables of Truerun; is DATABASE_URL or TRUERUN_DATA_DIR right?"
        )
    names = [name for name in catalog.table_names(driver) if name != catalog.VERSION_TABLE]
    shapes = [catalog.shape_of(driver, name) for name in catalog.in_order(driver, names)]
    header = Header(
        schema=revision,
        release=version("truerun-server"),
        made_at=now.isoformat(timespec="seconds"),
        postgres=str(driver.info.parameter_status("server_version")),
        tables=tuple(shape.name for shape in shapes),
        identities=tuple(catalog.identities(driver, names)),
    )
    writer.begin(header)
    totals = {}
    for shape in shapes:
        totals[shape.name] = writer.table(shape.name, shape.columns, catalog.copy_out(driver, shape))
        say(f"{shape.name}: {totals[shape.name].rows:,} rows")
    writer.end()
    return Contents(header=header, tables=totals)
