"""Whether the API on this machine answers: `python3 -m app.healthcheck`, exit status 0 or 1.

For container engines, which ask every few seconds. Only the standard library is imported, and no setting is checked:
that takes 0.05 s of CPU instead of the 0.7 s of `truerun-server`.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

HOST = "127.0.0.1"
PORT = "8750"
TIMEOUT_SECONDS = 4
# Bound to every address, the API is reached on the loopback one.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def main(environ: Mapping[str, str] = os.environ) -> int:
    host = environ.get("TRUERUN_HOST") or HOST
    host = _LOOPBACK.get(host, host)
    port = environ.get("TRUERUN_PORT") or PORT
    try:
        # Alive and not ready is asked: an API whose database is away for a moment is not mended by a restart.
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"{host} port {port}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if status != http.client.OK:
        print(f"{host} port {port}: status {status}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
