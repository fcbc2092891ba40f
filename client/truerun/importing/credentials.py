"""Where the key of another service is found: the environment or a netrc file, never an argument."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from truerun.importing.past import SourceError


def wandb_key(url: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """WANDB_API_KEY, else the password that `wandb login` has put into the netrc file; None where there is neither.

    Raises:
        SourceError: The netrc file cannot be read.
    """
    key = environ.get("WANDB_API_KEY")
    if key:
        return key.strip()
    path = Path(environ["NETRC"]) if environ.get("NETRC") else Path.home() / ".netrc"
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(path).authenticators(urlsplit(url).hostname or "")
    except (netrc.NetrcParseError, OSError) as error:
        # The message of the parser may hold the line, and the line the password.
        raise SourceError(f"{path} cannot be read: {type(error).__name__}") from None
    return found[2] if found else None
