"""The one error of this package."""

from __future__ import annotations


class EmbeddedPostgresError(RuntimeError):
    """Our own Postgres cannot be started or stopped here; the message says why and what to do instead."""
