"""The processes of the service: started from this program, watched, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# How long a child may take to finish what it has in hand before it is killed.
STOP_SECONDS = 12


class ServiceFailed(RuntimeError):
    """A part of the service ended or did not get ready; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process.

    Args:
        name: What people call it: `API`, `worker`.
    """

    name: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ask it to finish, wait for it, and kill it if it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_child(
    name: str, command: Iterable[str], *, environ: Mapping[str, str], descriptors: Iterable[int] = ()
) -> Child:
    """Start `truerun-server <command>` with this very Python.

    Args:
        descriptors: Open files that the child inherits under the same numbers.
    """
    process = subprocess.Popen(
        # -P: a directory called `app` where the user happens to be is not ours.
        [sys.executable, "-P", "-m", "app.cli", *command],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        pass_fds=tuple(descriptors),
        # Ctrl-C goes to every process of the terminal's group, but the order in which they stop is ours to choose.
        start_new_session=True,
    )
    return Child(name=name, process=process)


def check_all_alive(children: Iterable[Child]) -> None:
    """Raise ServiceFailed when one of them has ended, which none does by itself."""
    for child in children:
        status = child.process.poll()
        if status is not None:
            raise ServiceFailed(f"the {child.name} ended unexpectedly ({_ending(status)})")


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
