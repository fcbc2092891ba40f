"""A free port, taken at once, so that nobody else gets it between looking and using."""

from __future__ import annotations

import errno
import socket

# How many ports after the wanted one are tried.
ATTEMPTS = 50


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the wanted port or, if that is taken, to the next free one.

    Raises:
        OSError: No port near the wanted one is free, or the address is not one of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    for candidate in range(port, min(port + ATTEMPTS, 65536)):
        listener = socket.socket(family, kind, protocol)
        # A port whose last connections are still winding down is free for us.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address[0], candidate, *address[2:]))
            # Without listening, a second process with SO_REUSEADDR could still bind the same port.
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return listener
    raise OSError(errno.EADDRINUSE, f"it and the {ATTEMPTS - 1} ports after it are taken")


def local_url(listener: socket.socket) -> str:
    """The address by which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    # Bound to every address, it is reached on the loopback one.
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
