"""A pipe by which a child notices that its parent is gone, however that came about.

The parent keeps the writing end and never writes; the kernel closes it when the parent dies, even by SIGKILL, and the
child then reads the end of the file. This needs no polling and works on every Unix.
"""

from __future__ import annotations

import os
import signal
import threading


def end_with_parent(descriptor: int) -> None:
    """Ask this process to end, as SIGTERM would, when the other end of the pipe closes."""

    def wait() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
