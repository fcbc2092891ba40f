"""The client beside a real torch; `make test-integrations` makes the environment for it."""

from __future__ import annotations

from tests.client.conftest import home, service, spool
from tests.client.live.conftest import live, quiet_service

__all__ = ["home", "live", "quiet_service", "service", "spool"]
