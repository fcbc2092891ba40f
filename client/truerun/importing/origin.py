"""Asking another tracker's service: JSON in, JSON out, patiently, and with its credential kept to itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from truerun import __version__
from truerun.answers import backoff_seconds, retry_after_seconds
from truerun.importing.past import SourceError, Unavailable
from truerun.patience import jitter
from truerun.places import is_loopback
from truerun.transport import now

MOST_TRIES = 10
REQUEST_SECONDS = 60.0
_AGAIN = frozenset({408, 425, 429})


class Origin:
    """A service that past runs are read from.

    Args:
        url: Its address, without a credential in it.
        bearer: A token; user and password otherwise, or nothing.
        pause: Waits so many seconds before the next try.

    Raises:
        SourceError: The address is none, or would carry the credential in the clear.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer: str | None = None,
        user: tuple[str, str] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(f"{_plain(url)} is no address of a service; it begins with https://")
        if parts.username or parts.password:
            raise SourceError(
                "an address holds no credential here, where others could read it; set it as said in the docs"
            )
        if (bearer or user) and parts.scheme == "http" and not is_loopback(url):
            raise SourceError(f"{url} would carry the credential in the clear; use https")
        self.url = url.rstrip("/")
        self._httpx = httpx
        self._pause = pause
        # A redirect is never followed: it would carry the credential elsewhere.
        self._client = httpx.Client(
            headers={
                "user-agent": f"truerun/{__version__}",
                "accept": "application/json",
                **({"authorization": f"Bearer {bearer}"} if bearer else {}),
            },
            auth=user if user and not bearer else None,
            timeout=httpx.Timeout(REQUEST_SECONDS, connect=10.0),
            trust_env=not is_loopback(url),
            follow_redirects=False,
        )

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        return self._asked("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return self._asked("POST", path, json={k: v for k, v in document.items() if v is not None})

    def close(self) -> None:
        self._client.close()

    def _asked(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        trouble = ""
        for failures in range(1, MOST_TRIES + 1):
            wait: float | None = None
            try:
                answer = self._client.request(method, f"{self.url}{path}", **request)
            except (self._httpx.HTTPError, self._httpx.InvalidURL, OSError) as error:
                trouble = f"cannot reach {self.url}: {str(error) or type(error).__name__}"
            else:
                if answer.status_code < 500 and answer.status_code not in _AGAIN:
                    return self._document(answer)
                trouble = f"{self.url} answered {answer.status_code} ({_said(answer)})"
                # W&B says how long its limit lasts in a header of its own.
                asked = answer.headers.get("retry-after") or answer.headers.get("ratelimit-reset")
                wait = retry_after_seconds(asked, now())
            if failures < MOST_TRIES:
                self._pause(backoff_seconds(failures, jitter(), wait))
        raise Unavailable(trouble)

    def _document(self, answer: Any) -> dict[str, Any]:
        status = answer.status_code
        if status in (401, 403):
            raise SourceError(f"{self.url} does not accept the credential ({status})")
        if 300 <= status < 400:
            raise SourceError(f"{self.url} redirects; is that its address, or a login page in between?")
        try:
            document = answer.json()
        except ValueError:
            raise SourceError(f"{self.url} answered {status} and no JSON; is the address right?") from None
        if status >= 400 or not isinstance(document, dict):
            raise SourceError(f"{self.url} answered {status} ({_said(answer)})")
        return document


def _said(answer: Any) -> str:
    try:
        document = answer.json()
    except ValueError:
        return "not JSON"
    found = document.get("message") or document.get("error_code") if isinstance(document, dict) else None
    return str(found)[:200] if found else "no reason given"


def _plain(url: str) -> str:
    """An address without what may be a password."""
    return url.rpartition("@")[2]
