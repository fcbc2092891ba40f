"""A training's stages and its test-time compute."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.api.answers import Answer
from app.api.dependencies import ActorDep, SessionDep
from app.api.router import a_router
from app.services import training_tables

router = a_router("history")


class StageAnswer(Answer):
    stage: str
    state: str
    began_at: datetime
    loss_metric: str
    final_loss: float | None
    best_loss: float | None
    epochs: float | None
    seconds: float | None


class StagesAnswer(Answer):
    items: list[StageAnswer]


class HistogramAnswer(Answer):
    # One more edge than counts.
    edges: list[float]
    counts: list[int]
    chosen_counts: list[int]


class TtcAnswer(Answer):
    count: int
    steps: list[int]
    chosen: list[float]
    mean: list[float]
    improvement: list[float | None]
    histogram: HistogramAnswer
    frequency: list[float]


@router.get("/runs/{run_id}/stages")
def list_stages(session: SessionDep, actor: ActorDep, run_id: UUID) -> StagesAnswer:
    """Stage by stage: final and best loss, epochs and seconds, as `with run.stage(…)` in the client marks them."""
    return StagesAnswer(
        items=[
            StageAnswer(
                stage=each.name,
                state=each.state,
                began_at=each.began_at,
                loss_metric=each.loss_metric,
                final_loss=each.final_loss,
                best_loss=each.best_loss,
                epochs=each.epochs,
                seconds=each.seconds,
            )
            for each in training_tables.stages_of(session, actor, run_id=run_id)
        ]
    )


@router.get("/runs/{run_id}/ttc")
def show_ttc(session: SessionDep, actor: ActorDep, run_id: UUID) -> TtcAnswer:
    """Test-time compute, as `run.log_ttc(…)` logs it, ready to be drawn.

    The chosen reward beside the mean of its step's candidates, a histogram of all rewards, how often each candidate was
    chosen, and the improvement over the first step's chosen reward (null where that is 0 or not finite).
    """
    found = training_tables.ttc_of(session, actor, run_id=run_id)
    drawn = found.charts
    return TtcAnswer(
        count=found.count,
        steps=list(drawn.steps),
        chosen=list(drawn.chosen),
        mean=list(drawn.mean),
        improvement=list(drawn.improvement),
        histogram=HistogramAnswer(
            edges=list(drawn.edges), counts=list(drawn.counts), chosen_counts=list(drawn.chosen_counts)
        ),
        frequency=list(drawn.frequency),
    )
