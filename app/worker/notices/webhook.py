"""Notices to machines: signed as Standard Webhooks has it (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpcore

from app.db import SessionFactory
from app.db.outbox import ClaimedMessage
from app.domain.notices import Notice
from app.domain.sinks import SinkKind, WebhookSettings, settings_from_document, url_problem
from app.services.notices import Manner, Telling, notice_for
from app.worker.notices.addresses import AddressRefused, GuardedBackend, Network
from app.worker.sinks import Delivered, Paused, Refused

_SECONDS = 15.0
_REFUSED_FOR = timedelta(minutes=5)
_LONGEST_ANSWER = 64 * 1024


class WebhookSink:
    """One POST for each notice; the receiver knows a repeated one by its `webhook-id`.

    Args:
        allowed: Networks besides public addresses that may be sent to.
        address: The service's own, for links.
        environ: Holds the secrets.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        *,
        allowed: Collection[Network] = (),
        address: str | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sessions = sessions
        self._allowed = allowed
        self._address = address
        self._environ = environ
        self._clock = clock
        self._tls = tls

    def deliver(self, message: ClaimedMessage) -> Delivered | None:
        settings = settings_from_document(SinkKind.WEBHOOK, message.settings)
        if not isinstance(settings, WebhookSettings):
            raise Refused(f"{message.sink} is no webhook")
        secret = self._environ.get(settings.secret_env)
        if not secret:
            raise Paused(f"the environment variable {settings.secret_env} is not set", _REFUSED_FOR)
        if problem := url_problem(settings.url):
            raise Refused(f"the address {problem}")
        with self._sessions.begin() as session:
            telling = notice_for(session, message, Manner(routes=settings.routes, address=self._address))
        if not isinstance(telling, Telling):
            return Delivered(receipt=telling)
        body = json.dumps(document_of(telling.notice), ensure_ascii=False).encode()
        status = self._posted(settings.url, f"{message.project_id}.{message.id}", body, secret)
        with self._sessions.begin() as session:
            telling.note(session)
        return Delivered(receipt=f"HTTP {status}")

    def _posted(self, url: str, delivery: str, body: bytes, secret: str) -> int:
        at = str(int(self._clock()))
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": "truerun-webhook",
            "webhook-id": delivery,
            "webhook-timestamp": at,
            "webhook-signature": signature(secret, delivery, at, body),
        }
        timeouts = {"connect": 5.0, "read": _SECONDS, "write": _SECONDS, "pool": 1.0}
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=self._tls, network_backend=GuardedBackend(self._allowed), max_connections=1
                ) as pool,
                pool.stream(
                    "POST", url, headers=headers, content=body, extensions={"timeout": timeouts}
                ) as answer,
            ):
                deadline, held = time.monotonic() + _SECONDS, 0
                # An answer is only let in so that the connection ends in order.
                for chunk in answer.iter_stream():
                    held += len(chunk)
                    if held > _LONGEST_ANSWER or time.monotonic() > deadline:
                        break
                status = answer.status
        except AddressRefused as error:
            raise Refused(str(error)) from None
        host = urlsplit(url).hostname
        if 200 <= status < 300:
            return status
        if status in (401, 403, 410):
            raise Paused(f"{host} refuses our requests (HTTP {status})", _REFUSED_FOR)
        if 300 <= status < 400:
            raise Refused(f"{host} redirects (HTTP {status}), which is not followed; name the final address")
        raise ConnectionError(f"{host} answered HTTP {status}")


def document_of(notice: Notice) -> dict[str, Any]:
    """What a receiver gets; names stay, new ones may come."""
    return {
        "type": f"truerun.{notice.kind.value}",
        "level": notice.level.value,
        "title": notice.title,
        "text": notice.text,
        "lines": list(notice.lines),
        "project": notice.project,
        "suite": notice.suite,
        "stage": notice.stage,
        "run": notice.run,
        "groups": sorted(notice.groups),
        "link": notice.link,
    }


def signature(secret: str, delivery: str, at: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; a secret `whsec_…` is base64 itself."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise Refused("the secret begins with whsec_ and is no base64 after it") from None
    signed = hmac.new(key, f"{delivery}.{at}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()
