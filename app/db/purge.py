"""What has outlived its project's retention, and its removal; what anything still depends on is never found here.

Kept whatever its age: an evaluation that is or was champion, that a verdict on another evaluation was computed from,
whose n shares are a suite's weights, or that an unresolved alert names; and the run of such a one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.db.tables import (
    alert,
    assessment,
    attempt,
    baseline_event,
    check_result,
    evaluation,
    evaluation_value,
    leaderboard_row,
    metric_chunk,
    metric_series,
    metric_summary,
    outbox_message,
    record_block,
    record_gap,
    record_reject,
    run,
    run_event,
    run_image,
    stream,
    suite,
    token,
    ttc_step,
)
from app.domain.alerts import State
from app.domain.evaluations import Purpose

# Tables whose rows go with their evaluation, those that refer to others of them first.
OF_AN_EVALUATION = (check_result, assessment, leaderboard_row, evaluation_value)
# And with their run; evaluations go before.
OF_A_RUN = (
    metric_chunk, record_block, metric_summary, metric_series, run_event, ttc_step, run_image, record_gap,
    record_reject, stream, attempt,
)  # fmt: skip
# What goes by `history_days`.
OF_A_HISTORY = (metric_chunk, record_block, run_event, ttc_step, run_image)
_STANDING = [state.value for state in State if state is not State.RESOLVED]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRun:
    """An archived run whose time is over and on which nothing depends, verdicts of other seeds aside."""

    id: UUID
    key: str
    archived_at: datetime


def delete_delivered(session: Session, *, project_id: UUID, before: datetime, limit: int) -> int:
    """Remove messages that arrived before; returns how many."""
    old = (
        select(outbox_message.c.id)
        .where(outbox_message.c.project_id == project_id, outbox_message.c.delivered_at < before)
        .order_by(outbox_message.c.delivered_at, outbox_message.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(outbox_message).where(
        outbox_message.c.project_id == project_id, outbox_message.c.id.in_(old)
    )
    return len(session.execute(gone.returning(outbox_message.c.id)).all())


def count_delivered(session: Session, *, project_id: UUID, before: datetime) -> int:
    old = and_(outbox_message.c.project_id == project_id, outbox_message.c.delivered_at < before)
    return session.execute(select(func.count()).where(old)).scalar_one()


def resolved_subjects(
    session: Session, *, project_id: UUID, before: datetime, limit: int
) -> list[tuple[UUID, str, str]]:
    """(suite id, stage, subject) of alerts that were resolved before, for their locks."""
    query = (
        select(alert.c.suite_id, alert.c.stage, alert.c.subject)
        .where(_is_resolved(project_id, before), alert.c.suite_id.is_not(None))
        .order_by(alert.c.suite_id, alert.c.stage, alert.c.subject, alert.c.id)
        .limit(limit)
    )
    return [(row.suite_id, row.stage, row.subject) for row in session.execute(query)]


def delete_resolved(
    session: Session, *, project_id: UUID, before: datetime, subjects: Iterable[tuple[UUID, str, str]]
) -> int:
    """Remove those subjects' alerts that were resolved before; the subjects are locked."""
    here = tuple_(alert.c.suite_id, alert.c.stage, alert.c.subject).in_(sorted(set(subjects)))
    gone = delete(alert).where(_is_resolved(project_id, before), here)
    return len(session.execute(gone.returning(alert.c.id)).all())


def delete_resolved_of_runs(session: Session, *, project_id: UUID, before: datetime, limit: int) -> int:
    """Remove alerts about trainings that were resolved before; those that are being changed wait for another time."""
    old = (
        select(alert.c.id)
        .where(_is_resolved(project_id, before), alert.c.suite_id.is_(None))
        .order_by(alert.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(alert).where(alert.c.project_id == project_id, alert.c.id.in_(old))
    return len(session.execute(gone.returning(alert.c.id)).all())


def old_histories(
    session: Session, *, project_id: UUID, before: datetime, limit: int
) -> list[tuple[UUID, str]]:
    """(id, key) of runs that have ended, were not heard of since, and still have points, events or images."""
    heard = select(stream.c.id).where(
        stream.c.project_id == run.c.project_id, stream.c.run_id == run.c.id, stream.c.last_seen_at >= before
    )
    kept = [
        select(table.c.run_id).where(table.c.project_id == run.c.project_id, table.c.run_id == run.c.id)
        for table in OF_A_HISTORY
    ]
    query = (
        select(run.c.id, run.c.key)
        .where(
            run.c.project_id == project_id,
            run.c.status.not_in(["running", "stale"]),
            run.c.updated_at < before,
            ~heard.correlate(run).exists(),
            or_(*(each.correlate(run).exists() for each in kept)),
        )
        .order_by(run.c.id)
        .limit(limit)
    )
    return [(row.id, row.key) for row in session.execute(query)]


def delete_histories(session: Session, *, project_id: UUID, run_ids: Iterable[UUID]) -> None:
    """Remove points, events and images; summaries, books and attempts stay."""
    wanted = sorted(set(run_ids))
    for table in OF_A_HISTORY:
        session.execute(delete(table).where(table.c.project_id == project_id, table.c.run_id.in_(wanted)))


def count_resolved(session: Session, *, project_id: UUID, before: datetime) -> int:
    return session.execute(select(func.count()).where(_is_resolved(project_id, before))).scalar_one()


def old_progress(
    session: Session, *, project_id: UUID, before: datetime, limit: int, only: Sequence[UUID] | None = None
) -> list[tuple[UUID, UUID]]:
    """(evaluation, run) of what was measured during training before.

    Args:
        only: Look at these evaluations alone.
    """
    query = (
        select(evaluation.c.id, evaluation.c.run_id)
        .where(_is_old_progress(project_id, before))
        .order_by(evaluation.c.created_at, evaluation.c.id)
        .limit(limit)
    )
    if only is not None:
        query = query.where(evaluation.c.id.in_(only))
    return [(row.id, row.run_id) for row in session.execute(query)]


def count_old_progress(session: Session, *, project_id: UUID, before: datetime) -> int:
    return session.execute(select(func.count()).where(_is_old_progress(project_id, before))).scalar_one()


def old_runs(
    session: Session,
    *,
    project_id: UUID,
    before: datetime,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
    only: Sequence[UUID] | None = None,
) -> list[OldRun]:
    """Runs archived before on which nothing depends, those archived first first.

    Args:
        after: (archived_at, id) of the last run of the page before.
        only: Look at these runs alone.
    """
    of_run = evaluation.alias("of_run")
    depended_on = select(of_run.c.id).where(
        of_run.c.project_id == run.c.project_id, of_run.c.run_id == run.c.id, _is_needed(of_run)
    )
    owed = select(outbox_message.c.id).where(
        outbox_message.c.project_id == run.c.project_id,
        outbox_message.c.order_key == func.concat("run:", cast(run.c.id, Text)),
        outbox_message.c.delivered_at.is_(None),
        outbox_message.c.buried_at.is_(None),
    )
    query = (
        select(run.c.id, run.c.key, run.c.archived_at)
        .where(
            run.c.project_id == project_id,
            run.c.archived_at < before,
            ~depended_on.correlate(run).exists(),
            ~owed.correlate(run).exists(),
        )
        .order_by(run.c.archived_at, run.c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(run.c.archived_at, run.c.id) > tuple_(*map(literal, after)))
    if only is not None:
        query = query.where(run.c.id.in_(only))
    return [OldRun(**row) for row in session.execute(query).mappings()]


def citations(session: Session, *, project_id: UUID, run_ids: Iterable[UUID]) -> set[tuple[UUID, UUID]]:
    """(citing run, cited run): verdicts on the first were computed from evaluations of the second as seeds.

    Reads every verdict of the project that seeds went into.
    """
    cited_runs = select(evaluation.c.id, evaluation.c.run_id).where(
        evaluation.c.project_id == project_id, evaluation.c.run_id.in_(sorted(set(run_ids)))
    )
    of_evaluation = {str(row.id): row.run_id for row in session.execute(cited_runs)}
    # Whatever is text in what a verdict records, weights aside, is the id of an evaluation.
    ids = (
        func.jsonb_path_query(
            assessment.c.input.op("-")(literal("weights", Text)), text("""'$.** ? (@.type() == "string")'""")
        )
        .table_valued("value")
        .render_derived(name="ids")
    )
    cited = ids.c.value.op("#>>")(text("'{}'"))
    query = (
        select(evaluation.c.run_id, cited.label("cited"))
        .distinct()
        .select_from(assessment)
        .join(
            evaluation,
            (evaluation.c.project_id == assessment.c.project_id)
            & (evaluation.c.id == assessment.c.evaluation_id),
        )
        .join(ids, literal(value=True))
        .where(
            assessment.c.project_id == project_id,
            text("assessment.input ?| ARRAY['siblings', 'baseline_siblings', 'history']"),
            cited == func.any(bindparam("ids", sorted(of_evaluation), type_=ARRAY(Text))),
        )
    )
    pairs = {(row.run_id, of_evaluation[row.cited]) for row in session.execute(query)}
    return {(citing, cited) for citing, cited in pairs if citing != cited}


def evaluations_of(
    session: Session, *, project_id: UUID, run_ids: Iterable[UUID], limit: int
) -> list[tuple[UUID, UUID]]:
    """(evaluation, run), run by run."""
    query = (
        select(evaluation.c.id, evaluation.c.run_id)
        .where(evaluation.c.project_id == project_id, evaluation.c.run_id.in_(sorted(set(run_ids))))
        .order_by(evaluation.c.run_id, evaluation.c.id)
        .limit(limit)
    )
    return [(row.id, row.run_id) for row in session.execute(query)]


def count_evaluations(session: Session, *, project_id: UUID, run_ids: Iterable[UUID]) -> int:
    here = and_(evaluation.c.project_id == project_id, evaluation.c.run_id.in_(sorted(set(run_ids))))
    return session.execute(select(func.count()).where(here)).scalar_one()


def delete_evaluations(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> None:
    """Remove evaluations with everything that was computed from them alone; their runs are locked."""
    wanted = sorted(set(ids))
    for table in OF_AN_EVALUATION:
        session.execute(
            delete(table).where(table.c.project_id == project_id, table.c.evaluation_id.in_(wanted))
        )
    session.execute(
        delete(evaluation).where(evaluation.c.project_id == project_id, evaluation.c.id.in_(wanted))
    )


def subjects_of(
    session: Session, *, project_id: UUID, run_ids: Iterable[UUID]
) -> list[tuple[UUID, str, str]]:
    """(suite id, stage, subject) of the alerts that name these runs."""
    query = select(alert.c.suite_id, alert.c.stage, alert.c.subject).where(
        alert.c.suite_id.is_not(None),
        alert.c.project_id == project_id,
        alert.c.run_id.in_(sorted(set(run_ids))),
    )
    return sorted({(row.suite_id, row.stage, row.subject) for row in session.execute(query)})


def delete_runs(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> None:
    """Remove locked runs that have no evaluations left, with their tokens and resolved alerts."""
    wanted = sorted(set(ids))
    for table in (*OF_A_RUN, alert, token):
        session.execute(delete(table).where(table.c.project_id == project_id, table.c.run_id.in_(wanted)))
    session.execute(delete(run).where(run.c.project_id == project_id, run.c.id.in_(wanted)))


def _is_resolved(project_id: UUID, before: datetime) -> ColumnElement[bool]:
    return and_(
        alert.c.project_id == project_id,
        alert.c.state == State.RESOLVED.value,
        alert.c.resolved_at < before,
    )


def _is_old_progress(project_id: UUID, before: datetime) -> ColumnElement[bool]:
    return and_(
        evaluation.c.project_id == project_id,
        evaluation.c.purpose == Purpose.PROGRESS.value,
        evaluation.c.created_at < before,
        ~_is_needed(evaluation),
    )


def _is_needed(one: FromClause) -> ColumnElement[bool]:
    """Whether something depends on an evaluation, verdicts that seeds went into aside."""

    def exists(query: Select[tuple[object]]) -> ColumnElement[bool]:
        return query.correlate(one).exists()

    against = assessment.alias("against")
    return or_(
        exists(
            select(baseline_event.c.version).where(
                baseline_event.c.project_id == one.c.project_id, baseline_event.c.evaluation_id == one.c.id
            )
        ),
        exists(
            select(against.c.number).where(
                against.c.project_id == one.c.project_id, against.c.baseline_evaluation_id == one.c.id
            )
        ),
        exists(
            select(suite.c.id).where(
                suite.c.project_id == one.c.project_id, suite.c.weights_evaluation_id == one.c.id
            )
        ),
        exists(
            select(alert.c.id).where(
                alert.c.project_id == one.c.project_id,
                alert.c.evaluation_id == one.c.id,
                alert.c.state.in_(_STANDING),
            )
        ),
    )
