"""Asking the service from the command line: an answer is a document, or ends the command."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from truerun import wire
from truerun.answers import Answer
from truerun.cli.exits import NotFound, Refused, Unreachable, UsageError
from truerun.settings import Settings
from truerun.transport import Transport

# A blip of the network should not fail a build; asking twice for the same thing changes nothing.
PAUSES_SECONDS = (0.3, 1.0)
REQUEST_SECONDS = 60.0
PAGE = 200


class Service:
    """The service at the address that the arguments, the environment or this machine name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._transport: Transport | None = None

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _document(self._asked("GET", path, query=query))

    def text(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        """A file: CSV, Markdown, TOML."""
        return self._asked("GET", path, query=query).text

    def send(
        self, method: str, path: str, document: Mapping[str, Any], query: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return _document(self._asked(method, path, body=wire.encode(document), query=query))

    def upload(
        self,
        method: str,
        path: str,
        content: bytes,
        content_type: str,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return _document(self._asked(method, path, body=content, content_type=content_type, query=query))

    def delete(self, path: str) -> None:
        self._asked("DELETE", path)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def items(
        self, path: str, query: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """The items of a list, page after page, up to `limit`."""
        return list(self._each(path, dict(query or {}), limit))

    def _each(self, path: str, query: dict[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
        left = limit
        while left is None or left > 0:
            page = self.get(path, {**query, "limit": PAGE if left is None else min(PAGE, left)})
            items = page.get("items")
            if not isinstance(items, list):
                raise Unreachable(f"{path} answered without items; is the address right?")
            yield from (item for item in items[:left] if isinstance(item, dict))
            left = None if left is None else left - len(items)
            if not page.get("next_cursor") or not items:
                return
            query["cursor"] = page["next_cursor"]

    @property
    def transport(self) -> Transport:
        """The connection itself, for whoever reads answers by rules of its own."""
        if self._transport is None:
            self._transport = Transport(_address(self.settings), self.settings.token)
        return self._transport

    def _asked(self, method: str, path: str, **request: Any) -> Answer:
        for pause in (*PAUSES_SECONDS, None):
            answer = self.transport.send(method, path, seconds=REQUEST_SECONDS, **request)
            if pause is None or method != "GET" or answer.status not in (None, 502, 503, 504):
                break
            time.sleep(pause)
        if answer.status is None or not 200 <= answer.status < 300:
            raise _error(answer, self.settings)
        return answer


def _address(settings: Settings) -> str:
    if settings.url is None:
        hint = "".join(f"\n{complaint}" for complaint in settings.complaints)
        raise Unreachable(
            f"no address is known: set TRUERUN_URL, pass --url, or start a server on this machine{hint}"
        )
    return settings.url


def _document(answer: Answer) -> dict[str, Any]:
    if answer.document is None:
        raise Unreachable(
            "the answer is not the service's own; is the address right, or a login page in between?"
        )
    return answer.document


def _error(answer: Answer, settings: Settings) -> Exception:
    status, reasons = answer.status, _reasons(answer)
    if status is None or status >= 500 or status < 400 or status in (408, 425, 429):
        return Unreachable(answer.reason)
    if status == 401:
        way_out = (
            "set TRUERUN_TOKEN or pass --token"
            if settings.token is None
            else "it may have expired or been revoked"
        )
        return Unreachable(
            f"the token (from {settings.token_from}) is not accepted: {answer.reason}; {way_out}"
        )
    if answer.document is None:
        return Unreachable(f"{answer.reason}; is the address right?")
    if status == 404:
        return NotFound(answer.reason, reasons=reasons)
    if status in (403, 409):
        return Refused(answer.reason, reasons=reasons)
    return UsageError(answer.reason, reasons=reasons)


def _reasons(answer: Answer) -> list[str]:
    """The single contradictions or fields that a refusal names, beyond its one-line summary."""
    document = answer.document or {}
    found: list[str] = []
    reasons, problems = document.get("reasons"), document.get("problems")
    found.extend(str(reason) for reason in reasons if reason) if isinstance(reasons, list) else None
    for problem in problems if isinstance(problems, list) else []:
        if isinstance(problem, dict):
            where = problem.get("field") or (f"line {problem['line']}" if problem.get("line") else "")
            found.append(f"{where}: {problem.get('message')}" if where else str(problem.get("message")))
    return [reason for reason in found if reason not in answer.reason]
