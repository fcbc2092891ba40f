"""What a demo shows beside the service, done by the client over HTTP as a user's own scripts would do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from app.supervisor import RunningService, ServiceFailed

# A client's run that is interrupted says so to the service, for at most 5 s.
FAREWELL_SECONDS = 8


def show(service: RunningService, command: Sequence[str] | None = None) -> None:
    """Run the demo's command, which finds the service in its environment, to its end.

    Args:
        command: None or empty for the walk through a real regression.

    Raises:
        ServiceFailed: It could not be started, or failed; it has printed why.
        KeyboardInterrupt: Somebody stopped this program; the command was told and has ended.
    """
    environ = os.environ | {
        "TRUERUN_URL": service.url,
        "TRUERUN_TOKEN": service.admin_token,
        "TRUERUN_MODE": "online",
    }
    # A process of its own: server and client share only the wire format, not an interpreter.
    arguments = list(command or (sys.executable, "-m", "truerun.demo"))
    try:
        # Out of the terminal's reach, so that an interruption comes once and through us.
        process = subprocess.Popen(arguments, env=environ, process_group=0)
    except OSError as error:
        raise ServiceFailed(
            f"the demo's command {arguments[0]} cannot be started: {error.strerror}"
        ) from error
    with process:
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    if code:
        raise ServiceFailed(f"the demo could not be shown (exit code {code}); its message is above")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
