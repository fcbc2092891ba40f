"""Backups: every row of one moment in one file, and back into an empty database.

`archive` is the file, `catalog` what the database says of its tables, `dump` and `load` the two directions. Why not
pg_dump: docs/decisions/0011.
"""

from __future__ import annotations

from app.db.backups.archive import BackupFailed, Contents, check
from app.db.backups.dump import dump
from app.db.backups.load import load
from app.db.backups.places import reading, writing

__all__ = ["BackupFailed", "Contents", "check", "dump", "load", "reading", "writing"]
