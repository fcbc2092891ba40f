"""What a posted evaluation says: numbers as the run stated them, nothing computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

OVERALL = "overall"
DEFAULT_STAGE = "final"


class Bound(StrEnum):
    """`at_least`: the true value is the one given or larger (">10"); `at_most`: or smaller."""

    EXACT = "exact"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class Purpose(StrEnum):
    """A claim (listed, alerts, may be promoted), or a measurement during training that does neither."""

    CANDIDATE = "candidate"
    PROGRESS = "progress"


class Validity(StrEnum):
    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One metric in one group.

    Args:
        group: A group's name, or `overall` for a measured whole (a metric that does not pool).
        value: In the metric's unit; NaN and ±∞ are values.
        n: How many samples it is the metric of; None when unknown.
        stderr: Standard error of value in the metric's unit; None when unknown.
    """

    metric: str
    group: str
    value: float
    n: int | None = None
    stderr: float | None = None
    bound: Bound = Bound.EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the run itself claims of the whole; only ever reconciled, never used as the server's own number.

    Args:
        n: Stated total number of samples.
        overall: Stated overall value by metric.
    """

    n: int | None = None
    overall: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Training bookkeeping, for the gap and the loss decomposition.

    Args:
        train, val: The same loss on both splits.
        total: Stated total training loss; parts and weights by name with total = Σ weight · part.
    """

    train: float | None = None
    val: float | None = None
    total: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """When in a run's life an evaluation was made; orders evaluations whatever order they arrive in.

    Compared by attempt, then step (None before 0), then evaluation id, which clients draw time-ordered
    (UUIDv7).
    """

    attempt: int
    step: int | None
    evaluation: str

    def key(self) -> tuple[int, int, str]:
        return (self.attempt, -1 if self.step is None else self.step, self.evaluation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything a verdict may depend on from one posted evaluation.

    Args:
        run: The run's key, for sentences.
        seeded: Whether the run gave a seed; None when nothing is known.
        split_seeded: Whether the split was drawn with a seed; None when nothing is known.
        run_validity, validity: Of the run and of this evaluation.
    """

    id: str
    run: str
    position: Position
    purpose: Purpose = Purpose.CANDIDATE
    values: tuple[Value, ...]
    stated: Stated = field(default_factory=Stated)
    loss: Loss = field(default_factory=Loss)
    seeded: bool | None = None
    split_seeded: bool | None = None
    run_validity: Validity = Validity.VALID
    validity: Validity = Validity.VALID

    @property
    def is_valid(self) -> bool:
        """Whether both the run and the evaluation may be believed; `suspect` is shown and closes nothing."""
        return Validity.INVALID not in (self.run_validity, self.validity)
