"""The file that tells the client on this machine where the service is and with which token it may come in."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def local_file(environ: Mapping[str, str] = os.environ) -> Path:
    given = environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification says that a relative path there is to be ignored.
    base = Path(given) if os.path.isabs(given) else Path("~/.config").expanduser()
    return base / "truerun" / "local.json"


def write_local_file(path: Path, *, url: str, admin_token: str) -> None:
    """Write the file in one step, readable for its owner only from its first moment on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600, whatever the umask.
    descriptor, half = tempfile.mkstemp(dir=path.parent, prefix=".local-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"url": url, "tokens": {"admin": admin_token}}, file)
        os.replace(half, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(half)
        raise


def read_admin_token(path: Path) -> str | None:
    """The token that an earlier start left, if there is one; whether it is still good, only the service knows."""
    try:
        token = json.loads(path.read_text(encoding="utf-8"))["tokens"]["admin"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) else None
