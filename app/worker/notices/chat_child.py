"""The program that speaks apprise: one message, read from standard input, sent, and its outcome on standard output.

A process of its own, since apprise's many services bring their own ways to connect: here every connection is looked at
before it is made. The only door by which apprise comes in.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Callable, Collection
from typing import Any

import apprise

from app.worker.notices.addresses import AddressRefused, Network, networks, resolved

_LEVELS = {
    "info": apprise.NotifyType.INFO,
    "warn": apprise.NotifyType.WARNING,
    "error": apprise.NotifyType.FAILURE,
}


def main() -> None:
    said = json.load(sys.stdin)
    refused = guard_connections(networks(said["allowed"]))
    outcome = _sent(said, refused)
    json.dump(outcome, sys.stdout)


def guard_connections(allowed: Collection[Network]) -> list[str]:
    """Let this process connect only to allowed addresses; returns the list of those that were refused."""
    refused: list[str] = []
    real: Callable[..., Any] = socket.create_connection

    def create_connection(address: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        host, port = address[0], address[1]
        try:
            return real((resolved(host, port, allowed), port), *args, **kwargs)
        except AddressRefused as error:
            refused.append(str(error))
            raise OSError(str(error)) from None

    class GuardedSocket(socket.socket):
        """For whoever connects without `create_connection`."""

        def connect(self, address: Any) -> None:
            super().connect(self._looked_at(address))

        def connect_ex(self, address: Any) -> int:
            return super().connect_ex(self._looked_at(address))

        def _looked_at(self, address: Any) -> Any:
            if self.family not in (socket.AF_INET, socket.AF_INET6):
                refused.append(f"{address} is no internet address")
                raise OSError(refused[-1])
            try:
                return (resolved(address[0], address[1], allowed), *address[1:])
            except AddressRefused as error:
                refused.append(str(error))
                raise OSError(str(error)) from None

    socket.create_connection = create_connection  # type: ignore[assignment]
    socket.socket = GuardedSocket  # type: ignore[misc]
    return refused


def _sent(said: dict[str, Any], refused: list[str]) -> dict[str, Any]:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logging.getLogger("apprise").addHandler(Kept(level=logging.WARNING))
    # Where an answer leads is nobody's business but the address's that was allowed.
    asset = apprise.AppriseAsset(app_id="Truerun", app_desc="Truerun", app_url="", http_redirects=False)
    notifier = apprise.Apprise(asset=asset)
    if not notifier.add(said["url"]):
        return {"state": "refused", "reason": "the address is none that apprise knows"}
    if said["needs_tls"] and not all(_is_encrypted(service) for service in notifier):
        return {
            "state": "refused",
            "reason": "the address is not encrypted; use its variant with s, such as jsons:// or mailtos://",
        }
    sent = notifier.notify(
        title=said["title"],
        body=said["body"],
        notify_type=_LEVELS[said["level"]],
        body_format=apprise.NotifyFormat.TEXT,
        # What stands in a title is no markup of ours.
        interpret_escapes=False,
    )
    if sent:
        return {"state": "sent"}
    if refused:
        return {"state": "refused", "reason": refused[0]}
    return {"state": "failed", "reason": lines[-1] if lines else "the service took nothing"}


def _is_encrypted(service: apprise.NotifyBase) -> bool:
    """`secure` says which of two schemes was written; a service that has no plain one leaves it unset."""
    return bool(service.secure) or not service.protocol


if __name__ == "__main__":
    main()
