"""Fail when the tables that the service declares and the ones that the migrations make are not the same."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic.util import CommandError

from app.db import migrate
from app.embedded import embedded_postgres


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="truerun-schema-") as name:
        # As root, Postgres runs as another user, who must be able to pass through.
        Path(name).chmod(0o711)
        with embedded_postgres(Path(name, "postgres"), settings={"fsync": "off"}, durable=False) as server:
            migrate.upgrade(server.url())
            try:
                migrate.check(server.url())
            except CommandError as error:
                print(f"app/db/tables and migrations/ differ: {error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
