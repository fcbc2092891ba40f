"""The messages that changes owe to sinks: ids rather than contents, so that a late delivery is never wrong."""

from __future__ import annotations

from uuid import UUID

from app.db.baselines import EventRow
from app.db.outbox import NewMessage, Topic
from app.domain.alerts import AlertState


def evaluation_judged(*, evaluation_id: UUID, run_id: UUID, assessment: int, gate: str) -> NewMessage:
    """Written under the run's lock."""
    return NewMessage(
        topic=Topic.EVALUATION_JUDGED,
        order_key=f"run:{run_id}",
        payload={
            "evaluation": str(evaluation_id),
            "run": str(run_id),
            "assessment": assessment,
            "gate": gate,
        },
    )


def run_validity(*, run_id: UUID, evaluation_id: UUID | None, validity: str) -> NewMessage:
    """Written under the run's lock; evaluation_id where only one evaluation is meant."""
    return NewMessage(
        topic=Topic.RUN_VALIDITY,
        order_key=f"run:{run_id}",
        payload={
            "run": str(run_id),
            "evaluation": None if evaluation_id is None else str(evaluation_id),
            "validity": validity,
        },
    )


def images_logged(*, run_id: UUID, first_step: int | None) -> NewMessage:
    """Written under the run's lock.

    Args:
        first_step: The smallest of the new images; None where one of them belongs to no step.
    """
    return NewMessage(
        topic=Topic.RUN_IMAGES,
        order_key=f"run:{run_id}",
        payload={"run": str(run_id), "first_step": first_step},
    )


def leaderboard_changed(suite_id: UUID, stage: str) -> NewMessage:
    """Without content, so the order among them means nothing."""
    return NewMessage(
        topic=Topic.LEADERBOARD_CHANGED,
        order_key=f"leaderboard:{suite_id}:{stage}",
        payload={"suite": str(suite_id), "stage": stage},
    )


def baseline_moved(event: EventRow) -> NewMessage:
    """Written under the pointer's lock."""
    return NewMessage(
        topic=Topic.BASELINE_MOVED,
        order_key=f"baseline:{event.suite_id}:{event.stage}",
        payload={
            "suite": str(event.suite_id),
            "stage": event.stage,
            "version": event.version,
            "kind": event.kind,
            "evaluation": None if event.evaluation_id is None else str(event.evaluation_id),
        },
    )


def alert_changed(alert_id: UUID, alert: AlertState) -> NewMessage:
    """Written under the alert's lock."""
    return NewMessage(
        topic=Topic.ALERT_CHANGED,
        order_key=f"alert:{alert_id}",
        payload={
            "alert": str(alert_id),
            "kind": alert.kind.value,
            "state": alert.state.value,
            "evaluation": None if alert.as_of is None else alert.as_of.evaluation,
        },
    )


def sink_tested(sink: str, *, by: str) -> NewMessage:
    """Written under the project's lock.

    Args:
        by: Who wants to know whether anything arrives.
    """
    return NewMessage(topic=Topic.SINK_TESTED, order_key=f"test:{sink}", payload={"sink": sink, "by": by})
