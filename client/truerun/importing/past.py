"""A run as another tracker has kept it, whatever tracker that is."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

LONGEST_KEY = 128
MOST_PROBLEMS = 20
# Everything that an import makes is named under it, so that the same source is the same run on every machine.
_NAMESPACE = uuid5(NAMESPACE_URL, "truerun/import")
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")


class SourceError(Exception):
    """The source cannot be meant: no such file, project or credential."""


class Unavailable(Exception):
    """The source or the service does not answer now; the same import again goes on where it stopped."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was logged at once.

    Args:
        time: Seconds since 1970, as the source has it.
        values: By the source's own names; NaN and ±∞ are values.
    """

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Restart:
    """From here on the training went on from `step`; what it had logged from that step on was left behind."""

    step: int


class Tally:
    """What could not be brought: how many by reason, and the first few in words."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        # What was brought otherwise than one might think.
        self.noted: Counter[str] = Counter()
        self.problems: list[str] = []

    def leave(self, reason: str, count: int = 1, *, problem: str = "") -> None:
        self.left_out[reason] += count
        if problem and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


@dataclass(slots=True, kw_only=True)
class PastRun:
    """One run of a source.

    Args:
        identity: The source's own path to it, part by part; the same run has the same, wherever it is read from.
        label: Those parts of it that a person wants to see in the run's key; all where not given.
        stamp: Something that changes when the source's run does, so that what did not change is not read again.
        status: finished, failed or preempted; None while its training may still go on.
        started_at, ended_at: Seconds since 1970; None where the source does not say. Without an end the last row's
            time stands for it.
        about: What else is worth knowing of where it comes from.
        rows: Reads the history in the order in which it was logged. A run that has grown since has the same rows first.
    """

    identity: tuple[str, ...]
    stamp: str
    name: str
    rows: Callable[[Tally], Iterator[Row | Restart]]
    label: tuple[str, ...] = ()
    status: str | None = "finished"
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    tags: Iterable[str] = ()
    notes: str | None = None
    run_group: str | None = None
    git_commit: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    @property
    def key(self) -> str:
        return key_of(self.identity, self.label or self.identity)

    def uuid(self, *path: object) -> UUID:
        """An id that belongs to this run of this source, the same each time."""
        return uuid5(_NAMESPACE, "\x00".join([*self.identity, "", *map(str, path)]))


class Source(Protocol):
    """Where past runs are read from.

    Args:
        name: How the source is called in a report.
        tally: What it could not bring, as far as that belongs to no run.
    """

    name: str
    tally: Tally

    def runs(self) -> Iterator[PastRun]:
        """The runs one by one, read as they are asked for.

        Raises:
            SourceError: The source cannot be meant.
            Unavailable: It does not answer now.
        """

    def close(self) -> None:
        """Let go of it."""


def key_of(identity: tuple[str, ...], label: tuple[str, ...]) -> str:
    """The run key of a source's run: the parts of its label with dots between them.

    Two runs never share one: where the label is not all of the identity, a part has characters that a key cannot have
    or a dot, or the whole is too long, a digest of the identity stands at the end.
    """
    key = ".".join(_FOREIGN.sub("-", part).strip("-.") or "run" for part in label)
    if label == identity and key.split(".") == [*identity] and len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256("\x00".join(identity).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{key[: LONGEST_KEY - 13]}.{digest}"


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested objects by dotted name, as W&B shows them."""
    for name, value in values.items():
        if isinstance(value, dict) and value and "_type" not in value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
