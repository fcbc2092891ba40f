"""The walk through a real regression, done by the client over HTTP as a user's own scripts would do it."""

from __future__ import annotations

import os
import subprocess
import sys

from app.supervisor import RunningService, ServiceFailed


def show(service: RunningService) -> None:
    """Load the demo project if it is not there yet, and print its verdict, leaderboard and alerts.

    Raises:
        ServiceFailed: The client could not load or show it; it has printed why.
    """
    # A process of its own: server and client share only the wire format, not an interpreter.
    environ = os.environ | {
        "TRUERUN_URL": service.url,
        "TRUERUN_TOKEN": service.admin_token,
        "TRUERUN_MODE": "online",
    }
    done = subprocess.run([sys.executable, "-m", "truerun.demo"], env=environ, check=False)
    if done.returncode:
        raise ServiceFailed(
            f"the demo could not be shown (exit code {done.returncode}); its message is above"
        )
