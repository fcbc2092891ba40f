"""The client's own surroundings, for tests beside real frameworks."""

from __future__ import annotations

from tests.client.conftest import home, service, spool

__all__ = ["home", "service", "spool"]
