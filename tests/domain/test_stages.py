from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.history import Summary
from app.domain.stages import BEGAN, ENDED, Mark, stage_table

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def mark(kind: str, stage: str, *, minute: int, **says: Any) -> Mark:
    return Mark(kind=kind, at=NOON + timedelta(minutes=minute), detail={"stage": stage, **says})


def summary(*, last: float, lowest: float | None, highest: float | None = None) -> Summary:
    return Summary(
        count=3, non_finite=0, first_step=0, first_value=9.0, last_step=2, last_value=last,
        min_step=1, min_value=lowest, max_step=2, max_value=highest,
    )  # fmt: skip


def test_a_stage_tells_final_and_best_loss_epochs_and_seconds() -> None:
    marks = [
        mark(BEGAN, "operator", minute=0),
        mark(ENDED, "operator", minute=2, seconds=120.0, failed=False),
        mark(BEGAN, "refine", minute=2, loss="nll"),
    ]
    summaries = {
        ("operator", "loss"): summary(last=0.3, lowest=0.2),
        ("operator", "epoch"): summary(last=9.0, lowest=0.0, highest=10.0),
        ("refine", "nll"): summary(last=-1.0, lowest=-1.5),
        ("refine", "loss"): summary(last=7.0, lowest=7.0),
    }

    operator, refine = stage_table(marks, summaries)

    assert (operator.name, operator.state, operator.final_loss, operator.best_loss) == (
        "operator",
        "finished",
        0.3,
        0.2,
    )
    assert (operator.epochs, operator.seconds, operator.began_at) == (10.0, 120.0, NOON)
    assert (refine.state, refine.loss_metric, refine.final_loss, refine.best_loss) == (
        "running",
        "nll",
        -1.0,
        -1.5,
    )
    assert (refine.epochs, refine.seconds) == (None, None)


def test_a_stage_that_is_passed_again_adds_up_and_its_last_passage_says_how_it_is() -> None:
    marks = [
        mark(BEGAN, "a", minute=0),
        mark(ENDED, "a", minute=1, seconds=60.0, failed=True),
        mark(BEGAN, "a", minute=5),
        mark(ENDED, "a", minute=6, seconds=30.0, failed=False),
    ]

    (stage,) = stage_table(marks, {})

    assert (stage.state, stage.seconds, stage.final_loss) == ("finished", 90.0, None)
    assert stage_table(marks[:2], {})[0].state == "failed"
    # Preempted in its second passage: what the first one took is known.
    assert (stage_table(marks[:3], {})[0].state, stage_table(marks[:3], {})[0].seconds) == ("running", 60.0)


def test_marks_that_make_no_sense_are_passed_over() -> None:
    marks = [
        Mark(kind=BEGAN, at=NOON, detail={}),
        Mark(kind="note", at=NOON, detail={"stage": "x"}),
        mark(ENDED, "a", minute=1, seconds="soon", loss=3),
        mark(ENDED, "a", minute=2, seconds=-1.0),
    ]

    (stage,) = stage_table(marks, {})

    assert (stage.name, stage.state, stage.seconds, stage.loss_metric) == ("a", "finished", None, "loss")
