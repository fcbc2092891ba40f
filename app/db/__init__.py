"""The only SQL in the house: one module of functions per noun; nothing in here commits."""

from __future__ import annotations

from app.db.engine import (
    Session,
    SessionFactory,
    Timeouts,
    drop_connections,
    make_engine,
    make_probe,
    session_factory,
)

__all__ = [
    "Session",
    "SessionFactory",
    "Timeouts",
    "drop_connections",
    "make_engine",
    "make_probe",
    "session_factory",
]
