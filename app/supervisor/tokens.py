"""Tokens for whoever runs the server, without going through the API: the first one has to come from somewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from app.db import make_engine, migrate, session_factory
from app.db.tokens import TokenRow
from app.domain.access import Actor, Role
from app.services.tokens import create_token


def new_token(
    database_url: str, *, project: str | None, role: Role, label: str, lifetime: timedelta | None
) -> tuple[TokenRow, str]:
    """Store a token, as the server itself, and hand out its secret, which nobody can show again.

    Args:
        project: The project's key; None exactly for role admin.
        lifetime: None lasts until it is revoked.

    Raises:
        DatabaseUnavailable: The database cannot be reached or has another schema.
        TruerunError: The token asked for makes no sense or its project does not exist.
    """
    migrate.require_current(database_url)
    engine = make_engine(database_url, pool_size=1)
    try:
        with session_factory(engine).begin() as session:
            now = datetime.now(UTC)
            return create_token(
                session,
                Actor(name="server", role=Role.ADMIN),
                project=project,
                role=role,
                label=label,
                expires_at=None if lifetime is None else now + lifetime,
                now=now,
                new_id=uuid4,
            )
    finally:
        engine.dispose()
