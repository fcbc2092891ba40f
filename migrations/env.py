"""How Alembic reaches the database and what it compares it with; the only migration code that imports the service.

A caller inside the service hands over its connection (`app/db/migrate.py`); the `alembic` command reads DATABASE_URL.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from app.db.tables import metadata

# A migration that waits for a lock makes everybody queue behind it, so it gives up early and is run again; a migration
# that knows better says SET LOCAL itself.
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "60s"


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    # The settings end with the session or are overwritten by its next user; `migrate.py` closes its connection.
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()
    with context.begin_transaction():
        context.run_migrations()


def run_from_the_command_line() -> None:
    from app.settings import Settings

    database_url = Settings().database_url
    if database_url is None:
        raise SystemExit(
            "alembic needs DATABASE_URL; for the embedded Postgres use `truerun-server migrate`, which starts it"
        )
    engine = create_engine(database_url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        run(connection)


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    run_from_the_command_line()
