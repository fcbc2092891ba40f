"""The gate: what all outcomes together allow (RULES.md, *The gate*)."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.evaluations import Evaluation
from app.domain.outcomes import Check, Gate, Outcome, Rule

# Outcomes of a comparison that was made, whatever it found.
JUDGED = frozenset({Outcome.PASS, Outcome.IMPROVED, Outcome.INCONCLUSIVE, Outcome.REGRESSED})
CLOSING = frozenset({Outcome.FAILED, Outcome.REGRESSED})
OPENING = frozenset({Outcome.PASS, Outcome.IMPROVED})


def gate_of(checks: Iterable[Check], *, lead_judged: bool, valid: bool) -> Gate:
    """Open, undecided or closed.

    Args:
        lead_judged: Whether the lead metric was judged against a champion in at least one group or overall.
        valid: Whether run and evaluation are valid (`suspect` is shown everywhere and closes nothing).
    """
    required = [check for check in checks if check.required]
    if not valid or any(check.outcome in CLOSING for check in required):
        return Gate.CLOSED
    if not lead_judged or not all(check.outcome in OPENING for check in required):
        return Gate.UNDECIDED
    return Gate.OPEN


def effective_gate(gate: Gate, evaluation: Evaluation) -> Gate:
    """A stored gate as it stands now: closed once the run or the evaluation has been found invalid."""
    return gate if evaluation.is_valid else Gate.CLOSED


def is_judged(check: Check) -> bool:
    """Whether a regression check compared two numbers."""
    return check.rule is Rule.REGRESSION and check.outcome in JUDGED


def blocks(check: Check) -> bool:
    """Whether the check alone closes the gate."""
    return check.required and check.outcome in CLOSING


def leaves_open_question(check: Check) -> bool:
    """Whether the check alone keeps the gate from opening without closing it."""
    return check.required and check.outcome not in CLOSING and check.outcome not in OPENING
