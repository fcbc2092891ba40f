"""The database that the settings ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from app.embedded import default_data_dir, embedded_postgres
from app.settings import Settings


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """The settings with the address of a running Postgres: the given one, or our own for as long as it is used."""
    if settings.database_url is not None:
        yield settings
        return
    with embedded_postgres(settings.data_dir or default_data_dir()) as server:
        yield settings.model_copy(update={"database_url": server.url()})
