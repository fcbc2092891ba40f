"""Everything at once on one machine: Postgres, schema, API and worker, started, watched and stopped together."""

from app.supervisor.children import ServiceFailed
from app.supervisor.database import database
from app.supervisor.lifeline import end_with_parent
from app.supervisor.service import RunningService, running_service
from app.supervisor.tokens import new_token

__all__ = ["RunningService", "ServiceFailed", "database", "end_with_parent", "new_token", "running_service"]
