"""What the service must be told of a run before it takes its evaluations; kept in the spool's run.json."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The service's own description of a run; nothing else is taken from a run.json.
DETAILS = (
    "name",
    "config",
    "run_group",
    "tags",
    "notes",
    "seed",
    "split_seeded",
    "git_commit",
    "environment",
    "resume_step",
)
# The service takes no more.
MOST_TAGS = 100


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """One writer's view of its run.

    Args:
        url: Where it is meant to go; None for a run recorded without any address.
        mode: online or offline, as it was recorded; what was kept offline is only ever sent by `truerun
            sync`.
        role: train (an attempt of the run) or attach (adds evaluations to a run that another process trains).
        details: The members of the handshake named in DETAILS, changed by the user's thread only.
        surroundings: Those of them that the sender's thread finds out: git_commit and environment.
        version: Another one after each change, so that the sender knows when to introduce the run anew.
        attached_attempt: For attach: the attempt that the evaluations belong to, if it is not the newest one.
        rank: Of the process in its job.
        is_peer: Whether it is a further rank of the job that trains the run, so that it belongs to that job's attempt
            and may come before there is one.
        status: How the run ended (finished, failed), once it did and the service is still to be told.
    """

    project: str
    run_key: str
    attempt_id: str
    role: str
    url: str | None
    mode: str
    details: dict[str, Any] = field(default_factory=dict)
    surroundings: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    attached_attempt: str | None = None
    status: str | None = None
    rank: int = 0
    is_peer: bool = False
    stream_facts: dict[str, Any] = field(init=False, repr=False)
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def __post_init__(self) -> None:
        # What every batch says of its stream; the same object for good, whatever is found out later.
        self.stream_facts = {"role": self.role, "rank": self.rank}
        self.stream_facts["attempt_id"] = self.attempt_id if self.role == "train" else self.attached_attempt

    def belong_to(self, attempt_id: str) -> None:
        """Note the attempt that this process is a part of."""
        self.attached_attempt = self.stream_facts["attempt_id"] = attempt_id
        self.version = next(self._versions)

    def change(self, **details: Any) -> None:
        """Replace details, as a whole: another thread never sees half a change."""
        self.details = {**self.details, **details}
        self.version = next(self._versions)

    def surround(self, surroundings: Mapping[str, Any]) -> None:
        """Note what was found out about the machine and the code."""
        self.surroundings = dict(surroundings)
        self.version = next(self._versions)

    def handshake(self) -> dict[str, Any]:
        """The body of `PUT …/runs/{run_key}`."""
        known = {key: value for key, value in self._all_details().items() if value is not None}
        return {"attempt_id": self.attempt_id, "role": self.role, **known}

    def document(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "run_key": self.run_key,
            "attempt_id": self.attempt_id,
            "role": self.role,
            "url": self.url,
            "mode": self.mode,
            "status": self.status,
            "rank": self.rank,
            "attached_attempt": self.attached_attempt,
            "details": self._all_details(),
        }

    def _all_details(self) -> dict[str, Any]:
        environment = {**self.details.get("environment", {}), **self.surroundings.get("environment", {})}
        return {**self.details, **self.surroundings, **({"environment": environment} if environment else {})}


def record_from(document: Mapping[str, Any]) -> RunRecord:
    """Read a run.json.

    Raises:
        ValueError: A member is missing or of the wrong kind.
    """
    texts = {name: document.get(name) for name in ("project", "run_key", "attempt_id", "role", "mode")}
    missing = [name for name, value in texts.items() if not isinstance(value, str) or not value]
    details, url, status = document.get("details"), document.get("url"), document.get("status")
    rank, attached = document.get("rank"), document.get("attached_attempt")
    if missing or not isinstance(details, dict):
        raise ValueError(f"run.json lacks {', '.join(missing) or 'details'}")
    return RunRecord(
        project=str(texts["project"]),
        run_key=str(texts["run_key"]),
        attempt_id=str(texts["attempt_id"]),
        role=str(texts["role"]),
        mode=str(texts["mode"]),
        url=url if isinstance(url, str) else None,
        details={key: details[key] for key in DETAILS if key in details},
        status=status if isinstance(status, str) else None,
        rank=rank if isinstance(rank, int) else 0,
        attached_attempt=attached if isinstance(attached, str) else None,
    )
