"""What the command's exit code says, and the errors that carry one."""

from __future__ import annotations

from collections.abc import Sequence

OPEN = 0
CLOSED = 1
UNDECIDED = 2
UNREACHABLE = 3
USAGE = 64
CRASH = 70
INTERRUPTED = 130


class CommandError(Exception):
    """Ends the command with a message for the user and an exit code."""

    code = CLOSED

    def __init__(self, message: str, *, reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.reasons = tuple(reasons)


class UsageError(CommandError):
    """The command cannot be meant: a wrong name, a file that says nothing."""

    code = USAGE


class Unreachable(CommandError):
    """The service could not be asked, or does not take the credential, so nothing is known."""

    code = UNREACHABLE


class Refused(CommandError):
    """The service understood and said no."""


class NotFound(UsageError):
    """The service knows no such thing, or shows it to nobody with this token."""
