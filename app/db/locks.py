"""Locks on what has no row of its own, or no fair queue before it; all end with the transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import BigInteger, bindparam, func, select
from sqlalchemy.orm import Session

from app.db.fixed import Fixed

_KEY = bindparam("key", type_=BigInteger)
_SHARE = Fixed(select(func.pg_advisory_xact_lock_shared(_KEY)))
_OWN = Fixed(select(func.pg_advisory_xact_lock(_KEY)))


def key_of(kind: str, *parts: object) -> int:
    """A number for Postgres' advisory locks; two things that share one by chance only wait for each other."""
    name = "\0".join([kind, *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def share(session: Session, key: int) -> None:
    """Hold it together with others who share it, in the order in which all came."""
    _SHARE.run(session, key=key)


def own(session: Session, *keys: int) -> None:
    """Hold each alone. Everybody who takes several takes them in the same order."""
    for key in _sorted(keys):
        _OWN.run(session, key=key)


def try_own(session: Session, key: int) -> bool:
    """Hold it alone, unless somebody else does; whether it is held."""
    return bool(session.execute(select(func.pg_try_advisory_xact_lock(key))).scalar_one())


@contextmanager
def alone(sessions: Callable[[], Session], key: int) -> Iterator[bool]:
    """Hold it alone across transactions, on a connection of its own, with which it ends; whether it is held."""
    with sessions() as session:
        # No transaction stays open while it is held.
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        is_held = bool(session.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
        try:
            yield is_held
        finally:
            if is_held:
                session.execute(select(func.pg_advisory_unlock(key)))


def _sorted(keys: Iterable[int]) -> list[int]:
    return sorted(set(keys))
