"""Notices to people, by whatever service the operator's apprise address names: Slack, Discord, e-mail, Telegram, …"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.db import SessionFactory
from app.db.outbox import ClaimedMessage
from app.domain.notices import Notice
from app.domain.sinks import AppriseSettings, SinkKind, settings_from_document
from app.services.notices import Manner, Telling, notice_for
from app.worker.network_environ import network_environ
from app.worker.sinks import Delivered, Paused, Refused

_SECONDS = 45.0
_UNSET_FOR = timedelta(minutes=5)


class ChatSink:
    """One message for each notice, by a child process that is ended after `seconds`.

    Args:
        allowed: Networks by commas, besides public addresses, that may be sent to.
        needs_tls: Whether addresses that are not encrypted are refused.
        address: The service's own, for links.
        environ: Holds the apprise addresses.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        *,
        allowed: str = "",
        needs_tls: bool = True,
        address: str | None = None,
        environ: Mapping[str, str] = os.environ,
        seconds: float = _SECONDS,
    ) -> None:
        self._sessions = sessions
        self._allowed = allowed
        self._needs_tls = needs_tls
        self._address = address
        self._environ = environ
        self._seconds = seconds

    def deliver(self, message: ClaimedMessage) -> Delivered | None:
        settings = settings_from_document(SinkKind.APPRISE, message.settings)
        if not isinstance(settings, AppriseSettings):
            raise Refused(f"{message.sink} is no chat")
        url = self._environ.get(settings.url_env)
        if not url:
            raise Paused(f"the environment variable {settings.url_env} is not set", _UNSET_FOR)
        manner = Manner(
            routes=settings.routes,
            cooldown=timedelta(minutes=settings.cooldown_minutes),
            digest_from=settings.digest_from,
            address=self._address,
        )
        with self._sessions.begin() as session:
            telling = notice_for(session, message, manner)
        if not isinstance(telling, Telling):
            return Delivered(receipt=telling)
        self.tell(url, telling.notice)
        with self._sessions.begin() as session:
            telling.note(session)
        return Delivered(receipt=telling.notice.title)

    def tell(self, url: str, notice: Notice) -> None:
        """Send one notice now.

        Raises:
            Refused: The address may not be sent to, or is none.
            ConnectionError: It was not taken, and may be another time.
        """
        outcome = self._child(
            {
                "url": url,
                "title": notice.title,
                "body": notice.text,
                "level": notice.level.value,
                "allowed": self._allowed,
                "needs_tls": self._needs_tls,
            }
        )
        if outcome["state"] == "refused":
            raise Refused(str(outcome["reason"]))
        if outcome["state"] != "sent":
            raise ConnectionError(str(outcome["reason"]))

    def _child(self, said: Mapping[str, Any]) -> dict[str, Any]:
        child = subprocess.Popen(
            [sys.executable, "-m", "app.worker.notices.chat_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=network_environ(self._environ) | {"PATH": self._environ.get("PATH", os.defpath)},
            start_new_session=True,
            text=True,
        )
        try:
            answered, _ = child.communicate(json.dumps(said), timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise ConnectionError(f"the service took longer than {self._seconds:g} s") from None
        finally:
            # With whatever it has started itself.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        try:
            outcome: dict[str, Any] = json.loads(answered)
        except ValueError:
            raise ConnectionError(
                f"the child process ended with {child.returncode} and without a word"
            ) from None
        return outcome
