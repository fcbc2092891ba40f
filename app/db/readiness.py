"""Whether the service may be used with this database: it answers, fits, and keeps what it has acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.schema_fit import schema_fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What was found.

    Args:
        problems: Why nothing must be sent here, each with the way out; empty when all is well.
        warnings: What is accepted because the operator said so, or what will be one day.
        schema: The revision of the database's schema.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    schema: str | None = None


def readiness(session: Session, *, durability_waived: bool) -> Readiness:
    """Look around.

    Args:
        session: Over a connection made just now, so that settings of the role and of the database count as they are.
        durability_waived: The operator says that losing what was acknowledged is no loss.
    """
    unwritable = _unwritable(session)
    fit = schema_fit(session)
    unsafe = _unsafe(session)
    warnings = [f"TRUERUN_DURABILITY=waived: {each}" for each in unsafe] if durability_waived else []
    if fit.is_newer:
        warnings.append(
            f"the database has the schema of a newer release ({fit.revision}), which fits; upgrade this server"
        )
    return Readiness(
        problems=[*unwritable, *fit.problems, *([] if durability_waived else unsafe)],
        warnings=warnings,
        schema=fit.revision,
    )


_SAFE_COMMITS = frozenset({"on", "local", "remote_write", "remote_apply"})


def _unsafe(session: Session) -> list[str]:
    """Settings with which a crash or a power cut loses what was acknowledged."""
    found = session.execute(
        text(
            "SELECT current_setting('fsync'), current_setting('full_page_writes'), "
            "current_setting('synchronous_commit')"
        )
    ).one()
    fsync, full_page_writes, synchronous_commit = found
    unsafe = []
    if fsync != "on":
        unsafe.append(f"fsync is {fsync}: {_LOSES}; set fsync = on in postgresql.conf and reload")
    if full_page_writes != "on":
        unsafe.append(
            f"full_page_writes is {full_page_writes}: {_LOSES}; set full_page_writes = on in postgresql.conf and reload"
        )
    if synchronous_commit not in _SAFE_COMMITS:
        unsafe.append(
            f"synchronous_commit is {synchronous_commit}: {_LOSES}; set it on, and look at ALTER ROLE … SET and "
            "ALTER DATABASE … SET too"
        )
    return unsafe


_LOSES = "a crash may lose evaluations that were acknowledged"


def _unwritable(session: Session) -> list[str]:
    in_recovery, read_only = session.execute(
        text("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'")
    ).one()
    if in_recovery:
        return [
            "Postgres is a standby or still recovering, and takes no writes; point DATABASE_URL at the primary"
        ]
    if read_only:
        return ["transactions are read-only here; set default_transaction_read_only = off"]
    return []
