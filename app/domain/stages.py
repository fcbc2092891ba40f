"""What the stages of a training came to: `with run.stage("operator"):` in the client, one row a stage here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.history import Summary

BEGAN, ENDED = "stage_began", "stage_ended"
LOSS, EPOCH = "loss", "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A stage began or ended.

    Args:
        detail: `stage`, and which metrics tell its loss and its epochs.
    """

    kind: str
    at: datetime
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One row of the table.

    Args:
        state: running, finished or failed; `running` also where the end never came.
        final_loss, best_loss: The last by step, and the lowest finite one; None where none was logged in the stage.
        epochs: The highest epoch that was logged in it.
        seconds: Of all its passages that ended, together.
    """

    name: str
    state: str
    began_at: datetime
    loss_metric: str
    final_loss: float | None
    best_loss: float | None
    epochs: float | None
    seconds: float | None


def stage_table(marks: Sequence[Mark], summaries: Mapping[tuple[str, str], Summary]) -> list[Stage]:
    """The stages in the order in which they first began.

    Args:
        marks: In the order of time.
        summaries: By (stage, metric), of the whole run and the run's attempts together.
    """
    passages: dict[str, list[Mark]] = {}
    for mark in marks:
        name = mark.detail.get("stage")
        if isinstance(name, str) and mark.kind in (BEGAN, ENDED):
            passages.setdefault(name, []).append(mark)
    return [_stage(name, found, summaries) for name, found in passages.items()]


def _stage(name: str, marks: Sequence[Mark], summaries: Mapping[tuple[str, str], Summary]) -> Stage:
    last = marks[-1]
    metrics = {key: last.detail.get(key) for key in (LOSS, EPOCH)}
    loss_metric, epoch_metric = (
        value if isinstance(value, str) and value else key for key, value in metrics.items()
    )
    loss, epoch = summaries.get((name, loss_metric)), summaries.get((name, epoch_metric))
    ended = [seconds for mark in marks if mark.kind == ENDED and (seconds := _seconds(mark)) is not None]
    state = "running" if last.kind == BEGAN else "failed" if last.detail.get("failed") is True else "finished"
    return Stage(
        name=name,
        state=state,
        began_at=marks[0].at,
        loss_metric=loss_metric,
        final_loss=None if loss is None else loss.last_value,
        best_loss=None if loss is None else loss.min_value,
        epochs=None if epoch is None else epoch.max_value,
        seconds=sum(ended) if ended else None,
    )


def _seconds(mark: Mark) -> float | None:
    seconds = mark.detail.get("seconds")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return float(seconds) if is_number and 0 <= seconds < 1e12 else None  # type: ignore[arg-type, operator]
