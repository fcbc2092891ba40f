"""Where to send, as whom, and whether at all: by arguments, the environment, this machine's server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from truerun.places import LocalServer, is_loopback, local_file, read_local_server

MODES = ("online", "offline", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was found.

    Args:
        mode: online, offline (record only) or off (do nothing).
        url: The service's address without a trailing slash; None when none is known.
        url_from, token_from: `argument`, the variable's name, the local file's path, or `nowhere`.
        complaints: What was wrong with the environment, in sentences for the user.
    """

    mode: str
    url: str | None
    token: str | None = field(repr=False)
    url_from: str
    token_from: str
    complaints: tuple[str, ...] = ()


def find_settings(
    *, url: str | None, token: str | None, mode: str | None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Put together what the arguments and the environment say; an argument wins, and nothing here raises."""
    complaints: list[str] = []
    found_url, url_from = _first(("argument", url), ("TRUERUN_URL", environ.get("TRUERUN_URL")))
    found_token, token_from = _first(("argument", token), ("TRUERUN_TOKEN", environ.get("TRUERUN_TOKEN")))
    if found_url is not None:
        problem = url_problem(found_url)
        if problem:
            complaints.append(f"{url_from} is not used: {problem}")
            found_url = None
    if found_url is None or (found_token is None and is_loopback(found_url)):
        path = local_file(environ)
        local = read_local_server(path)
        if isinstance(local, str):
            complaints.extend([local] if local else [])
        else:
            found_url, url_from, found_token, token_from = _with_local(
                local, str(path), found_url, url_from, found_token, token_from
            )
    if found_token is not None and not (found_token.isascii() and found_token.isprintable()):
        complaints.append(f"the token from {token_from} is not used: it holds characters that no token has")
        found_token = None
    return Settings(
        mode=_mode(mode, environ.get("TRUERUN_MODE"), found_url, complaints),
        url=_tidy(found_url) if found_url else None,
        token=found_token,
        url_from=url_from if found_url else "nowhere",
        token_from=token_from if found_token else "nowhere",
        complaints=tuple(complaints),
    )


def url_problem(url: str) -> str | None:
    """What is wrong with an address, or None."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return f"{url!r} is no address; write it like https://truerun.example.org"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        return f"{url!r} is no http(s) address; write it like https://truerun.example.org"
    if parts.username or parts.password:
        return "it carries a password; give the token in TRUERUN_TOKEN instead"
    return None


def _first(*sources: tuple[str, str | None]) -> tuple[str | None, str]:
    for name, value in sources:
        if value and value.strip():
            return value.strip(), name
    return None, "nowhere"


def _with_local(
    local: LocalServer, path: str, url: str | None, url_from: str, token: str | None, token_from: str
) -> tuple[str | None, str, str | None, str]:
    # The file's token opens the file's server and no other one.
    if url is None:
        url, url_from = local.url, path
    if token is None and _tidy(url) == _tidy(local.url):
        token, token_from = local.token, path
    return url, url_from, token, token_from


def _tidy(url: str) -> str:
    return url.rstrip("/").removesuffix("/api/v1")


def _mode(argument: str | None, variable: str | None, url: str | None, complaints: list[str]) -> str:
    wanted = argument or (variable or "").strip().lower() or None
    if wanted is not None and wanted not in MODES:
        complaints.append(f"TRUERUN_MODE={variable!r} is not used: it can be online, offline or off")
        wanted = None
    if wanted in ("offline", "off"):
        return wanted
    return "online" if url else "offline"
