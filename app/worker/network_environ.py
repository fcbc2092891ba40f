"""What of our environment is passed on to a child process that talks to somebody else's service."""

from __future__ import annotations

from collections.abc import Mapping

# What a host needs to reach the network at all; our settings and secrets are none of a child's business.
_PASSED_ON = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "TZ",
)


def network_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Proxies, certificates and the time zone, in either spelling: most programs read proxies in lower case too."""
    names = (*_PASSED_ON, *map(str.lower, _PASSED_ON))
    return {name: environ[name] for name in names if name in environ}
