"""Which errors of the database pass by themselves."""

from __future__ import annotations

from psycopg import errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_PASSING = (
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.SerializationFailure,
    errors.TooManyConnections,
    errors.DiskFull,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed later: no free or no living connection, a lock waited for too long."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig
    # Without an SQLSTATE the server never answered: it could not be reached, or went away in between.
    unreachable = isinstance(cause, errors.OperationalError) and cause.sqlstate is None
    return error.connection_invalidated or unreachable or isinstance(cause, _PASSING)
