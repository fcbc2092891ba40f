"""What a training came to, stage by stage, and what its test-time compute chose."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.db import Session, choices, series
from app.db.series import SeriesFilter
from app.domain.access import Action, Actor
from app.domain.history import Series, Summary, cuts, folded
from app.domain.stages import BEGAN, ENDED, EPOCH, LOSS, Mark, Stage, stage_table
from app.domain.ttc import Charts, Selection, charts
from app.services.runs import run_for

MOST_MARKS = 2_000
MOST_SELECTIONS = 20_000
_MOST_SERIES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTimeCompute:
    """The charts, of the latest steps where there are more than `MOST_SELECTIONS`.

    Args:
        count: How many steps were logged, those of branches that were left included.
    """

    count: int
    charts: Charts


def stages_of(session: Session, actor: Actor, *, run_id: UUID) -> list[Stage]:
    """The run's stages in the order in which they first began.

    The loss of a stage is the series without group that was logged in it: without split before `val` before others.
    """
    run = run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    return stages_of_run(session, project_id=run.project_id, run_id=run.id)


def stages_of_run(session: Session, *, project_id: UUID, run_id: UUID) -> list[Stage]:
    """As `stages_of`, of a run that the caller may see."""
    rows = [
        row
        for kind in (BEGAN, ENDED)
        for row in series.events_of(
            session, project_id=project_id, run_id=run_id, kind=kind, limit=MOST_MARKS
        )
    ]
    # A clock is coarse; what one writer logged in the same moment stands in its order.
    rows.sort(key=lambda row: (row["at"], row["stream_id"], row["idx"]))
    marks = [Mark(kind=row["kind"], at=row["at"], detail=row["detail"]) for row in rows]
    names = {
        str(mark.detail.get(key) or default)
        for mark in marks
        for key, default in ((LOSS, LOSS), (EPOCH, EPOCH))
    }
    return stage_table(marks, _summaries(session, project_id, run_id, sorted(names)) if marks else {})


def ttc_of(session: Session, actor: Actor, *, run_id: UUID) -> TestTimeCompute:
    """What was chosen at each step, of the run's attempts laid one after the other."""
    run = run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    found = selections_of_run(session, project_id=run.project_id, run_id=run.id)
    count = choices.count(session, project_id=run.project_id, run_id=run.id)
    return TestTimeCompute(count=count, charts=charts(found))


def selections_of_run(session: Session, *, project_id: UUID, run_id: UUID) -> list[Selection]:
    """By step, the latest `MOST_SELECTIONS` of them, of a run that the caller may see."""
    began = [
        (each.number, each.began)
        for each in series.attempts_of(session, project_id=project_id, run_id=run_id)
    ]
    return choices.of_run(
        session, project_id=project_id, run_id=run_id, cuts=cuts(began), limit=MOST_SELECTIONS
    )


def _summaries(
    session: Session, project_id: UUID, run_id: UUID, names: list[str]
) -> dict[tuple[str, str], Summary]:
    """By (stage, metric)."""
    where = SeriesFilter(names=tuple(names), group="")
    found = series.find(session, project_id=project_id, run_id=run_id, where=where, limit=_MOST_SERIES)
    chosen: dict[tuple[str, str], tuple[int, Series]] = {}
    for series_id, what in sorted(found, key=lambda each: _preference(each[1])):
        chosen.setdefault((what.stage, what.name), (series_id, what))
    told = series.summaries_of(
        session, project_id=project_id, run_id=run_id, ids=[series_id for series_id, _ in chosen.values()]
    )
    return {
        place: folded([summary for _, summary in told[series_id]])
        for place, (series_id, _) in chosen.items()
        if told.get(series_id)
    }


def _preference(what: Series) -> tuple[int, str, int]:
    return ({"": 0, "val": 1}.get(what.split, 2), what.split, what.rank)
