"""A database in which every table has rows, and awkward ones; and digests that owe nothing to the service's code."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import insert, select, update

from app.db import assessments
from app.db.assessments import AssessmentRow
from app.db.tables import (
    assessment,
    metric_chunk,
    metric_series,
    metric_summary,
    notice_told,
    outbox_message,
    record_block,
    record_gap,
    record_reject,
    run_event,
    run_image,
    sink,
    stream,
    ttc_step,
)
from app.domain.evaluations import Bound, Purpose, Value
from app.domain.outcomes import Verdict
from app.domain.policies import policy_from_document
from app.domain.promotion import EventKind
from app.domain.record import aggregate_to_document, check_to_document
from app.domain.retention import Retention
from app.services.evaluations import PostedEvaluation, recompute
from app.services.policies import put_policy
from app.services.retention import put_retention
from app.services.runs import EditRun, archive_run, edit_run
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_post,
    a_suite,
    bootstrapping,
    judge_again,
    marking_run,
    moving,
    posted,
    posting,
    promoting,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run
from tests.worker.owed import FakeSink, a_worker, claim, owe, work_until_idle

AWKWARD = "tab\t newline\n return\r backslash\\ \\. quote' \" ü 測 🚆 \x01 \u2028"


NAME = "\\. quote' \" ü 測 🚆 \\N"


def fill(world: World) -> UUID:
    """Two projects; the first holds something of everything that can be. Returns its id."""
    project = a_project(world)
    a_project(world, "spare")
    a_suite(world)
    a_suite(world, split="val2")
    a_suite(world)
    first = a_run(
        world, "first", config={"lr": 0.1, AWKWARD: [1, None, "NaN"]}, tags=("a", NAME), seed=-(2**63)
    )
    second = a_run(world, "second", config={"lr": 0.2}, seed=2**63 - 1, run_group=NAME)
    world.run(
        lambda session: edit_run(session, ADMIN, run_id=first.run_id, changes=EditRun(notes=AWKWARD), now=NOW)
    )
    seat = posted(world, first.run_id)
    world.run(bootstrapping(seat, reason=AWKWARD))
    better = posted(world, second.run_id, BETTER)
    world.run(promoting(better, version=1))
    # Regresses, so that an alert opens; its seeds share a recipe.
    for seed in (1, 2, 3):
        bad = a_run(world, f"bad-{seed}", config={"lr": 9.0}, seed=seed)
        posted(world, bad.run_id, BAD, now=NOW + timedelta(minutes=seed))
    diverged = a_run(world, "diverged", config={"lr": 99.0})
    world.run(posting(diverged.run_id, a_post(dict.fromkeys(GOOD, math.nan))))
    world.run(posting(diverged.run_id, a_post({"easy": math.inf, "mid": -math.inf, "hard": 5e-324}, step=7)))
    odd = (
        Value(metric="log2_mse", group="easy", value=-0.0, n=2**63 - 1, stderr=1.7976931348623157e308),
        Value(metric="log2_mse", group="mid", value=0.1 + 0.2, bound=Bound.AT_LEAST),
        Value(metric="log2_mse", group="hard", value=1e-300),
    )
    world.run(
        posting(diverged.run_id, PostedEvaluation(suite="heights", values=odd, purpose=Purpose.PROGRESS))
    )
    world.run(moving(EventKind.OVERRIDE, seat, version=2, reason="because"))
    world.run(moving(EventKind.ROLLBACK, version=3))
    world.run(marking_run(first.run_id, reason=AWKWARD))
    judge_again(world)
    gone = a_run(world, "gone")
    posted(world, gone.run_id)
    world.run(lambda session: archive_run(session, ADMIN, run_id=gone.run_id, now=NOW))
    policy = policy_from_document({"rel_tol": 0.2})
    world.run(lambda session: put_policy(session, ADMIN, project_key="burgers", policy=policy, now=NOW))
    rules = Retention(archived_days=90)
    world.run(lambda session: put_retention(session, ADMIN, project_key="burgers", rules=rules, now=NOW))
    _train(world, project.id, second.run_id)
    _owe_everything(world, project.id)
    return project.id


def _train(world: World, project: UUID, run: UUID) -> None:
    """A stream with points of every kind of number, a gap, a rejected record and an event."""
    values = [0.1, math.nan, math.inf, -math.inf, 5e-324, -0.0]
    stream_id, here = UUID(int=7), {"project_id": project, "run_id": run}
    with world.transaction() as session:
        session.execute(
            insert(stream).values(
                **here, id=stream_id, attempt=1, role="train", rank=0, next_idx=10, stored=7, rejected=1, gaps=2,
                logged=12, dropped={AWKWARD: 3}, created_at=NOW, last_seen_at=NOW,
            )
        )  # fmt: skip
        session.execute(
            insert(record_gap).values(
                **here, stream_id=stream_id, first=7, until=9, reason=AWKWARD, created_at=NOW
            )
        )
        session.execute(
            insert(record_reject).values(**here, stream_id=stream_id, idx=9, code="too_many", created_at=NOW)
        )
        session.execute(
            insert(run_event).values(
                **here, stream_id=stream_id, idx=6, attempt=1, at=NOW, step=3, kind="alert", level="warn",
                title=AWKWARD, detail={AWKWARD: [1, None]},
            )
        )  # fmt: skip
        session.execute(
            insert(ttc_step).values(
                **here, stream_id=stream_id, idx=5, attempt=1, at=NOW, step=3,
                rewards=[math.nan, -math.inf, 0.1], chosen=2,
            )
        )  # fmt: skip
        session.execute(
            insert(run_image).values(
                **here, id=UUID(int=8), stream_id=stream_id, idx=4, attempt=1, at=NOW, step=None, name=AWKWARD,
                caption=NAME, content_type="image/png", width=1, height=2, digest=bytes(range(32)),
                data=bytes(range(256)) * 8,
            )
        )  # fmt: skip
        series = session.execute(
            insert(metric_series)
            .values(**here, name=AWKWARD, group_name=NAME, stage="", split="val", rank=0)
            .returning(metric_series.c.id)
        ).scalar_one()
        session.execute(
            insert(metric_summary).values(
                **here, attempt=1, series_id=series, count=6, non_finite=3, first_step=0, first_value=0.1,
                last_step=5, last_value=math.nan, min_step=5, min_value=-0.0, max_step=0, max_value=0.1,
            )
        )  # fmt: skip
        block = session.execute(
            insert(record_block)
            .values(
                **here, stream_id=stream_id, attempt=1, first_idx=0, last_idx=5, count=6, step_start=0,
                step_stride=1, times=[1.0 + i for i in range(6)], min_step=0, max_step=5,
            )
            .returning(record_block.c.id)
        ).scalar_one()  # fmt: skip
        session.execute(insert(metric_chunk).values(**here, series_id=series, block_id=block, values=values))


def _owe_everything(world: World, project: UUID) -> None:
    """Messages that are delivered, buried, claimed, put off and owed, for a sink that has been paused."""
    work_until_idle(a_worker(world, FakeSink()))
    owe(world, project, AWKWARD, "claimed", key="run:claimed")
    claim(world)
    owe(world, project, "put off", key="run:off")
    work_until_idle(a_worker(world, FakeSink(fails=lambda message: True)), most=3)
    owe(world, project, "owed", key="run:owed")
    with world.transaction() as session:
        session.execute(
            insert(notice_told).values(
                project_id=project, sink="log", subject=AWKWARD, level="warn", told_at=NOW
            )
        )
        session.execute(
            update(outbox_message)
            .where(outbox_message.c.delivered_at.is_not(None))
            .values(receipt=AWKWARD, mirrored=[{AWKWARD: [1]}])
        )
        session.execute(
            update(sink)
            .where(sink.c.project_id == project)
            .values(
                settings={AWKWARD: [1, None]}, paused_until=NOW, paused_because=AWKWARD, changed_at=NOW,
                changed_by=AWKWARD,
            )
        )  # fmt: skip


def row_digests(database_url: str) -> dict[str, tuple[int, str]]:
    """(rows, digest of them all) of every table, computed by Postgres alone."""
    with psycopg.connect(database_url) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        return {name: _digest(connection, name) for (name,) in names}


def _digest(connection: psycopg.Connection, name: str) -> tuple[int, str]:
    row = connection.execute(
        f"SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM \"{name}\" t"
    ).fetchone()
    assert row is not None
    return row


def every_assessment(world: World) -> list[AssessmentRow]:
    columns = [column for column in assessment.c if column.name != "aggregates"]
    order = assessment.primary_key.columns
    return world.run(
        lambda session: [
            AssessmentRow(**row) for row in session.execute(select(*columns).order_by(*order)).mappings()
        ]
    )


def wrongly_recomputed(world: World) -> list[AssessmentRow]:
    """Stored verdicts that are not what their recorded input gives."""

    def differs(row: AssessmentRow) -> Callable[[Any], bool]:
        return lambda session: (
            _shown(recompute(session, row))
            != _shown(
                assessments.load_verdict(
                    session, project_id=row.project_id, evaluation_id=row.evaluation_id, number=row.number
                )
            )
        )

    return [row for row in every_assessment(world) if world.run(differs(row))]


def _shown(verdict: Verdict) -> Any:
    """As JSON, where NaN is equal to itself."""
    return (
        verdict.gate,
        verdict.sentence,
        [check_to_document(check) for check in verdict.checks],
        [aggregate_to_document(aggregate) for aggregate in verdict.aggregates],
        (verdict.judged_cells, verdict.total_cells),
    )
