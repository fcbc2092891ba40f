"""What has outlived its project's retention goes, whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from app.db import purge as tables_of_purge
from app.db.tables import alert, evaluation, outbox_message, project
from app.domain.access import Role
from app.domain.evaluations import Purpose
from app.domain.retention import Retention
from app.errors import Forbidden, InvalidInput
from app.services import purge
from app.services.retention import put_retention, show_retention
from tests.db.backups.full import wrongly_recomputed
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_post,
    bootstrapping,
    judge_again,
    open_alerts,
    posted,
    posting,
)
from tests.services.purging import (
    EVERYTHING,
    LATER,
    a_world_with_weights,
    archive,
    deliver,
    keep,
    keys,
    orphans,
    project_id,
    purge_all,
    resolve_alerts,
)
from tests.services.world import NOW, World, a_run, somebody
from tests.worker.owed import owe


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world_with_weights(database_url) as world:
        yield world


def test_nothing_goes_while_nobody_said_so(world: World) -> None:
    gone = a_run(world, "gone").run_id
    posted(world, gone, BAD)
    posted(world, gone, purpose=Purpose.PROGRESS, step=1)
    archive(world, gone)
    resolve_alerts(world)

    assert purge_all(world) == {"messages": 0, "alerts": 0, "progress": 0, "runs": 0, "evaluations": 0}
    assert keys(world) == {"gone"}


def test_delivered_messages_go_after_thirty_days_by_default(world: World) -> None:
    posted(world, a_run(world, "run").run_id)
    deliver(world)
    owe(world, project_id(world), "owed")
    buried = NOW
    world.run(
        lambda session: session.execute(
            text(
                "UPDATE outbox_message SET delivered_at = NULL, buried_at = :at "
                "WHERE id = (SELECT min(id) FROM outbox_message)"
            ),
            {"at": buried},
        )
    )
    left = world.run(lambda session: session.execute(select(outbox_message.c.id)).all())

    early = purge_all(world, now=NOW + timedelta(days=30))
    late = purge_all(world, now=NOW + timedelta(days=30, seconds=1))

    assert early["messages"] == 0
    assert late["messages"] == len(left) - 2
    rest = world.run(lambda session: session.execute(select(outbox_message)).all())
    assert {(row.buried_at is not None, row.delivered_at) for row in rest} == {(True, None), (False, None)}


def test_an_archived_run_goes_with_all_it_posted(world: World) -> None:
    keep(world, EVERYTHING)
    gone, stays = (
        a_run(world, "gone", config={"lr": 1}).run_id,
        a_run(world, "stays", config={"lr": 2}).run_id,
    )
    for run_id in (gone, stays):
        posted(world, run_id)
        posted(world, run_id, BETTER, step=1)
        posted(world, run_id, purpose=Purpose.PROGRESS, step=2, now=LATER)
    archive(world, gone)
    deliver(world)

    early = purge_all(world, now=NOW + timedelta(days=10))
    late = purge_all(world, now=LATER)

    assert early["runs"] == 0
    assert (late["runs"], late["evaluations"]) == (1, 3)
    assert keys(world) == {"stays"}
    assert orphans(world) == {}
    assert wrongly_recomputed(world) == []
    assert ("retention.purge", "archived runs") in world.audit(project_id(world))
    assert purge_all(world, now=LATER)["runs"] == 0


def test_a_large_run_goes_in_several_transactions(world: World) -> None:
    keep(world, EVERYTHING)
    large, small = a_run(world, "large").run_id, a_run(world, "small").run_id
    for step in range(7):
        posted(world, large, step=step)
    posted(world, small)
    archive(world, large)
    archive(world, small)
    deliver(world)
    here = project_id(world)

    pages = []
    for _ in range(4):
        pages.append(world.run(lambda session: purge.purge_runs(session, here, now=LATER, limit=3)))
        assert orphans(world) == {}

    assert [(page.runs, page.evaluations) for page in pages if page.evaluations] in (
        [(0, 3), (0, 3), (2, 2)],
        [(1, 3), (0, 3), (1, 2)],
    )
    assert keys(world) == set()


def test_what_was_measured_during_training_goes_and_claims_stay(world: World) -> None:
    keep(world, EVERYTHING)
    run_id = a_run(world, "run").run_id
    claim = posted(world, run_id, step=9)
    for step in range(5):
        posted(world, run_id, purpose=Purpose.PROGRESS, step=step, now=NOW + timedelta(days=step))
    deliver(world, at=LATER)

    gone = purge_all(world, now=NOW + timedelta(days=12, hours=1))

    assert gone["progress"] == 3
    left = world.run(lambda session: session.execute(select(evaluation.c.id, evaluation.c.step)).all())
    assert sorted(row.step for row in left if row.step is not None) == [3, 4, 9]
    assert claim in {row.id for row in left}
    assert orphans(world) == {}


def test_resolved_alerts_go_and_standing_ones_stay(world: World) -> None:
    keep(world, EVERYTHING)
    world.run(bootstrapping(posted(world, a_run(world, "champion", config={"lr": 1}).run_id)))
    posted(world, a_run(world, "bad", config={"lr": 2}).run_id, BAD)
    resolve_alerts(world)
    posted(world, a_run(world, "worse", config={"lr": 3}).run_id, BAD)
    standing = len(open_alerts(world, project_id(world)))
    assert standing

    assert purge_all(world)["alerts"] > 0

    assert (
        world.run(lambda session: session.execute(select(alert.c.state)).scalars().all())
        == ["open"] * standing
    )


def test_what_would_go_is_told_without_touching_it(world: World) -> None:
    keep(world, EVERYTHING)
    gone = a_run(world, "gone").run_id
    posted(world, gone, GOOD)
    posted(world, gone, purpose=Purpose.PROGRESS, step=2)
    archive(world, gone)
    deliver(world)
    before = world.run(lambda session: session.execute(select(outbox_message.c.id)).all())

    (told,) = world.run(lambda session: purge.purgeable(session, now=LATER))

    assert told == purge.Purgeable(
        project="burgers",
        messages=len(before),
        alerts=0,
        histories=0,
        progress_evaluations=1,
        runs=("gone",),
        run_evaluations=2,
    )
    assert keys(world) == {"gone"}
    gone_now = purge_all(world)
    assert (gone_now["messages"], gone_now["progress"], gone_now["runs"]) == (len(before), 1, 1)


def test_a_run_that_posts_while_it_is_purged_waits(world: World) -> None:
    """A new seed of the same recipe is judged before the old one goes, and keeps it, or after, and never knew it."""
    keep(world, EVERYTHING)
    old = a_run(world, "old", config={"lr": 1, "seed": 1}, seed=1).run_id
    posted(world, old)
    archive(world, old)
    deliver(world)
    new = a_run(world, "new", config={"lr": 1, "seed": 2}, seed=2).run_id
    here = project_id(world)

    page, _ = world.behind(
        lambda session: purge.purge_runs(session, here, now=LATER),
        posting(new, a_post(GOOD), evaluation_id=uuid4(), now=LATER),
    )

    assert page.runs == 1
    judge_again(world)
    assert keys(world) == {"new"}
    assert wrongly_recomputed(world) == []
    assert orphans(world) == {}


def test_every_table_of_runs_and_evaluations_is_known_to_the_purge() -> None:
    """A new table that refers to either has to say what becomes of its rows."""
    known = {
        "evaluation": {table.name for table in tables_of_purge.OF_AN_EVALUATION} | {"baseline"},
        "run": {table.name for table in tables_of_purge.OF_A_RUN} | {"evaluation"},
    }

    for parent, children in known.items():
        referring = {
            table.name
            for table in evaluation.metadata.sorted_tables
            for key in table.foreign_key_constraints
            if key.referred_table.name == parent
        }
        # Checks hang on their assessment.
        assert referring <= children, f"let app/db/purge.py say what becomes of {referring - children}"


def test_rules_are_a_maintainers_and_leave_a_trace_when_they_change(world: World) -> None:
    with world.transaction() as session:
        here = session.execute(select(project)).one()
    maintainer, reporter = somebody(Role.MAINTAINER, here), somebody(Role.REPORTER, here)
    rules = Retention(archived_days=90)

    for _ in range(2):
        world.run(
            lambda session: put_retention(session, maintainer, project_key="burgers", rules=rules, now=NOW)
        )

    assert world.run(lambda session: show_retention(session, reporter, project_key="burgers")) == rules
    assert world.audit(here.id).count(("retention.change", "retention")) == 1
    with pytest.raises(Forbidden):
        world.run(
            lambda session: put_retention(session, reporter, project_key="burgers", rules=rules, now=NOW)
        )
    with pytest.raises(InvalidInput, match="to keep for ever"):
        keep(world, Retention(archived_days=0))
