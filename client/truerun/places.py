"""Where things lie on this machine: unsent data, and the local server's address."""

from __future__ import annotations

import ipaddress
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


def _base(environ: Mapping[str, str], variable: str, *fallback: str) -> Path:
    given = environ.get(variable, "")
    # The XDG specification says that a relative path there is to be ignored.
    if os.path.isabs(given):
        return Path(given)
    return Path(os.path.expanduser("~"), *fallback)


def spool_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory with one subdirectory per writer process; never the working directory."""
    return _base(environ, "XDG_STATE_HOME", ".local", "state") / "truerun" / "spool"


def local_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The file in which a server started on this machine leaves its address and tokens."""
    return _base(environ, "XDG_CONFIG_HOME", ".config") / "truerun" / "local.json"


def is_loopback(url: str) -> bool:
    """Whether the address cannot leave this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """What local.json says."""

    url: str
    token: str | None = field(repr=False)


def read_local_server(path: Path) -> LocalServer | str:
    """The server that runs on this machine, or the reason, in words, why the file is not believed.

    An empty reason means that there simply is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    with open(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        # Anyone who can write this file could send the data and the token of this user elsewhere.
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return f"{path} is ignored: it belongs to another user"
        if stat.S_IMODE(status.st_mode) & 0o077:
            return f"{path} is ignored: others may read or write it; make it yours alone with chmod 600"
        try:
            document = json.load(file)
        except (ValueError, OSError):
            return f"{path} is ignored: it holds no JSON; start the server again to have it rewritten"
    url = document.get("url") if isinstance(document, dict) else None
    if not isinstance(url, str) or not is_loopback(url):
        return f"{path} is ignored: its address is not on this machine"
    tokens = document.get("tokens")
    token = tokens.get("admin") if isinstance(tokens, dict) else None
    return LocalServer(url=url.rstrip("/"), token=token if isinstance(token, str) else None)
