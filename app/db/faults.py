"""Which errors of the database pass by themselves."""

from __future__ import annotations

from enum import StrEnum

from psycopg import Error, errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# What every error of the database is, for those who may not know the driver.
DatabaseError = (DBAPIError, Error)


class Fault(StrEnum):
    """Why the database could not do its part, though the same request may well succeed later.

    Nothing was stored, but for BROKEN: the connection was lost at work, and if that was in the middle of a commit,
    nobody knows how it ended.
    """

    BUSY = "busy"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    LOCKED = "locked"
    SLOW = "slow"
    COLLIDED = "collided"
    FULL = "full"


_BY_ERROR: dict[type[Exception], Fault] = {
    errors.DeadlockDetected: Fault.COLLIDED,
    errors.SerializationFailure: Fault.COLLIDED,
    errors.LockNotAvailable: Fault.LOCKED,
    errors.QueryCanceled: Fault.SLOW,
    errors.TransactionTimeout: Fault.SLOW,
    errors.IdleInTransactionSessionTimeout: Fault.SLOW,
    errors.TooManyConnections: Fault.BUSY,
    errors.DiskFull: Fault.FULL,
    errors.ReadOnlySqlTransaction: Fault.UNREACHABLE,
    errors.CannotConnectNow: Fault.UNREACHABLE,
    errors.AdminShutdown: Fault.BROKEN,
    errors.CrashShutdown: Fault.BROKEN,
}


def passing_fault(error: BaseException) -> Fault | None:
    """What is in the way for now; None for an error that the same request would meet again."""
    if isinstance(error, PoolTimeout):
        return Fault.BUSY
    if isinstance(error, Error):
        # By the driver alone, see `connection_of`: on a connection that had been reached before.
        cause: BaseException | None = error
        is_cut = isinstance(error, errors.OperationalError) and error.sqlstate is None
    elif isinstance(error, DBAPIError):
        cause, is_cut = error.orig, error.connection_invalidated
    else:
        return None
    known = next((fault for kind, fault in _BY_ERROR.items() if isinstance(cause, kind)), None)
    if known is not None:
        return known
    if is_cut:
        return Fault.BROKEN
    # Without an SQLSTATE the server never answered: it could not be reached.
    unreachable = isinstance(cause, errors.OperationalError) and cause.sqlstate is None
    return Fault.UNREACHABLE if unreachable else None
