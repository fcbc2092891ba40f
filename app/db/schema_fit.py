"""Whether the database's schema is one that this release's code can work with.

The schema of this release is; and so is a newer one that has only added to it, so that the release before goes on
serving while the next one is rolled out. A newer schema cannot be told by its revision, which this code has never heard
of, so its shape is looked at: every table and column that this code knows must be there, and no column that it does not
know may insist on a value.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db import migrate
from app.db.migrate import Revisions
from app.db.tables import project

MIGRATE = "run: truerun-server migrate"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFit:
    """What was found.

    Args:
        revision: The database's own; None when it has none.
        problems: Why this code cannot work with it, each with the way out.
    """

    revision: str | None
    is_newer: bool
    problems: tuple[str, ...]


def schema_fit(session: Session, *, code: Revisions | None = None) -> SchemaFit:
    """Compare the database with what the code knows.

    Args:
        code: None is this release.
    """
    revisions = migrate.revisions_of(session.connection())
    known, heads = code or migrate.known_revisions()
    shown = ", ".join(sorted(revisions)) or None
    if not revisions:
        return _fit(shown, f"the database has no schema yet; {MIGRATE}")
    if revisions <= known and revisions != heads:
        return _fit(shown, f"the database has the schema of an older release ({shown}); {MIGRATE}")
    lacking = _lacking(session)
    if revisions == heads:
        return _fit(shown, *([_differs(shown, lacking)] if lacking else []))
    if lacking:
        return _fit(
            shown,
            f"the database has a schema ({shown}) that this release cannot work with: {'; '.join(lacking[:5])}; "
            "run the release that made it",
        )
    return SchemaFit(revision=shown, is_newer=True, problems=())


def _differs(revision: str | None, lacking: list[str]) -> str:
    return (
        f"the schema is not what its revision {revision} says: {'; '.join(lacking[:5])}; it was changed by hand, or "
        "an unfinished release made it: restore a backup, or begin with an empty database"
    )


def _fit(revision: str | None, *problems: str) -> SchemaFit:
    return SchemaFit(revision=revision, is_newer=False, problems=problems)


_COLUMNS = text(
    """
    SELECT c.relname, a.attname,
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v') AND pg_table_is_visible(c.oid) AND c.relname = ANY(:names)
    """
)


def _lacking(session: Session) -> list[str]:
    """What of this code's tables is not there, and what is there and would refuse its rows."""
    wanted = {
        table.name: {column.name for column in table.columns} for table in project.metadata.sorted_tables
    }
    insists: dict[str, dict[str, bool]] = {name: {} for name in wanted}
    for table, column, is_demanded in session.execute(_COLUMNS, {"names": list(wanted)}):
        insists[table][column] = is_demanded
    lacking = [
        f"{table}.{column} is not there"
        for table, columns in wanted.items()
        for column in sorted(columns - insists[table].keys())
    ]
    return lacking + [
        f"{table}.{column} insists on a value"
        for table, columns in insists.items()
        for column, is_demanded in columns.items()
        if is_demanded and column not in wanted[table]
    ]
