"""The database's clock: the one that all workers share."""

from __future__ import annotations

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import Session


def milliseconds(session: Session) -> int:
    """Since 1970, at this moment, not at the beginning of the transaction."""
    now = cast(func.floor(func.extract("epoch", func.clock_timestamp()) * 1000), BigInteger)
    return session.execute(select(now)).scalar_one()
