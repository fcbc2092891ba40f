"""The sink `log`: what has happened, in the server's own log."""

from __future__ import annotations

import structlog

from app.db.outbox import ClaimedMessage


class LogSink:
    """One structured line for each message, with ids only."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("truerun.sink")

    def deliver(self, message: ClaimedMessage) -> None:
        self._log.info(
            message.topic,
            project=str(message.project_id),
            message=message.id,
            **{key: value for key, value in message.payload.items() if key not in _RESERVED},
        )


# structlog's own names for the parts of a line.
_RESERVED = frozenset({"event", "level", "logger", "timestamp", "project", "message"})
