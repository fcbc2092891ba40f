"""Takes away what tests leave. As a program it waits for its parent to end, however that came about, and removes what a
killed test session left in its directory.

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
    forget_spools(directory)
    shutil.rmtree(directory, ignore_errors=True)


def forget_spools(place: Path) -> None:
    """Take away every spool below a directory together with its journals, which lie in shared memory."""
    for spool in place.glob("**/truerun/spool"):
        from truerun.journal import remove_orphans

        for writer in spool.iterdir():
            shutil.rmtree(writer, ignore_errors=True)
        remove_orphans(spool)


if __name__ == "__main__":
    main()
