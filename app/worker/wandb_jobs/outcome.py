"""What became of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """`delivered`: written and read back. `already`: read, and nothing was missing. `stale`: W&B has something newer.

    `retry`: not there, or not for sure; later perhaps. `refused`: it will never be taken as it is. `paused`: W&B does
    not let us in (401, 403); trying on does no good before a person has changed something. `kept_offline`: on disk, for
    someone to carry it over.
    """

    DELIVERED = "delivered"
    ALREADY = "already"
    STALE = "stale"
    RETRY = "retry"
    REFUSED = "refused"
    PAUSED = "paused"
    KEPT_OFFLINE = "kept_offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one try.

    Args:
        reason: Why it is not delivered; "" where it is.
        url: The run's page at W&B; "" where none is known.
        directory, command: Where an offline run lies, and the command that brings it to W&B (once: its exit status
            proves nothing, and a second time repeats rows and alerts).
    """

    state: State
    reason: str = ""
    url: str = ""
    directory: str = ""
    command: str = ""


def to_document(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)


def from_document(document: Mapping[str, Any]) -> Outcome:
    """The outcome again.

    Raises:
        KeyError, TypeError, ValueError: It is not what `to_document` made.
    """
    return Outcome(**{**document, "state": State(document["state"])})


def without(outcome: Outcome, secret: str | None) -> Outcome:
    """The outcome with a reason that does not hold the secret, whatever wandb may have quoted in it."""
    return replace(outcome, reason=outcome.reason.replace(secret, "…")) if secret else outcome
