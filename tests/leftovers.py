"""Waits for its parent to end, however that came about, and removes what a killed test session left in its directory.

Run as a program: `python leftovers.py DIRECTORY`, with a pipe from the parent as standard input. Without it, every
session that is killed (a time limit, an out-of-memory killer) would leave a Postgres running for ever.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path


def main() -> None:
    directory = Path(sys.argv[1])
    sys.stdin.read()
    for process_file in directory.rglob("cluster/data/postmaster.pid"):
        # Not before it is needed: a session that ends well shall not pay for this import.
        from app.embedded import EmbeddedPostgresError, embedded_postgres

        # Whoever joins and leaves last stops the server.
        with contextlib.suppress(EmbeddedPostgresError), embedded_postgres(process_file.parents[2]):
            pass
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
