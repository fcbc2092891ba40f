"""What has outlived its project's retention goes, whole; what anything depends on stays, whatever its age."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from app.db import purge as tables_of_purge
from app.db.tables import alert, evaluation, outbox_message, project, run
from app.domain.access import Role
from app.domain.evaluations import Purpose
from app.domain.retention import Retention
from app.errors import Forbidden, InvalidInput
from app.services import purge
from app.services.retention import put_retention, show_retention
from app.services.runs import archive_run
from tests.db.backups.full import wrongly_recomputed
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_post,
    a_suite,
    bootstrapping,
    judge_again,
    marking_run,
    open_alerts,
    posted,
    posting,
    promoting,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run, a_world, somebody
from tests.worker.owed import FakeSink, a_worker, owe, work_until_idle

LATER = NOW + timedelta(days=100)
EVERYTHING = Retention(
    archived_days=10,
    progress_evaluations_days=10,
    delivered_messages_days=10,
    resolved_alerts_days=10,
    history_days=10,
)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        a_project(world)
        a_suite(world)
        # The weights are the shares of the first evaluation by id, which is kept for their sake.
        posted(world, a_run(world, "weights").run_id, evaluation_id=UUID(int=1))
        yield world


def project_id(world: World) -> UUID:
    return world.run(lambda session: session.execute(select(project.c.id)).scalar_one())


def keep(world: World, rules: Retention) -> None:
    world.run(lambda session: put_retention(session, ADMIN, project_key="burgers", rules=rules, now=NOW))


def archive(world: World, run_id: UUID, *, at: datetime = NOW) -> None:
    world.run(lambda session: archive_run(session, ADMIN, run_id=run_id, now=at))


def deliver(world: World, *, at: datetime = NOW) -> None:
    """Let everything that is owed arrive, at that time."""
    work_until_idle(a_worker(world, FakeSink()))
    world.run(
        lambda session: session.execute(
            text("UPDATE outbox_message SET delivered_at = :at WHERE delivered_at IS NOT NULL"), {"at": at}
        )
    )


def resolve_alerts(world: World, *, at: datetime = NOW) -> None:
    world.run(
        lambda session: session.execute(
            text("UPDATE alert SET state = 'resolved', resolved_at = :at"), {"at": at}
        )
    )


def purge_all(world: World, *, now: datetime = LATER) -> dict[str, int]:
    """Every kind until nothing goes any more; how many went."""
    here = project_id(world)
    gone = {"messages": 0, "alerts": 0, "progress": 0, "runs": 0, "evaluations": 0}
    for kind, remove in (
        ("messages", purge.purge_messages),
        ("alerts", purge.purge_alerts),
        ("progress", purge.purge_progress),
    ):
        while count := world.run(lambda session: remove(session, here, now=now)):  # noqa: B023  called at once
            gone[kind] += count
    after = None
    for _ in range(1000):
        page = world.run(lambda session: purge.purge_runs(session, here, now=now, after=after))  # noqa: B023
        gone["runs"] += page.runs
        gone["evaluations"] += page.evaluations
        after = page.next_after
        if not (page.runs or page.evaluations) and after is None:
            return gone
    raise AssertionError("it never ends")


def keys(world: World) -> set[str]:
    found = set(world.run(lambda session: list(session.execute(select(run.c.key)).scalars())))
    return found - {"weights"}


def orphans(world: World) -> dict[str, int]:
    """Rows that name a run or an evaluation that is not there."""
    found = {}
    with world.transaction() as session:
        columns = session.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns "
                "JOIN information_schema.tables USING (table_schema, table_name) "
                "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
                "AND column_name IN ('run_id', 'evaluation_id', 'baseline_evaluation_id', 'weights_evaluation_id')"
            )
        ).all()
        for table, column in columns:
            target = "run" if column == "run_id" else "evaluation"
            count = session.execute(
                text(
                    f'SELECT count(*) FROM "{table}" t WHERE t."{column}" IS NOT NULL AND NOT EXISTS '
                    f'(SELECT FROM "{target}" o WHERE o.project_id = t.project_id AND o.id = t."{column}")'
                )
            ).scalar_one()
            if count:
                found[f"{table}.{column}"] = count
    return found


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


def test_who_was_ever_champion_stays(world: World) -> None:
    keep(world, EVERYTHING)
    first = a_run(world, "first", config={"lr": 1}).run_id
    former = posted(world, first)
    world.run(bootstrapping(former))
    second = posted(world, a_run(world, "second", config={"lr": 2}).run_id, BETTER)
    world.run(promoting(second, version=1))
    judge_again(world)
    archive(world, first)
    deliver(world)

    assert purge_all(world)["runs"] == 0

    assert keys(world) == {"first", "second"}
    assert wrongly_recomputed(world) == []


def test_a_seed_that_a_verdict_was_computed_from_stays_until_that_goes_too(world: World) -> None:
    keep(world, EVERYTHING)
    seeds = [a_run(world, f"seed-{i}", config={"lr": 1, "seed": i}, seed=i).run_id for i in range(3)]
    for run_id in seeds:
        posted(world, run_id)
    judge_again(world)
    archive(world, seeds[0])
    archive(world, seeds[1])
    deliver(world)

    while_one_is_alive = purge_all(world)
    verdicts = wrongly_recomputed(world)
    archive(world, seeds[2])
    deliver(world)
    when_all_are_archived = purge_all(world)

    assert while_one_is_alive["runs"] == 0
    assert verdicts == []
    assert when_all_are_archived["runs"] == 3
    assert orphans(world) == {}


def test_what_a_kept_seed_was_judged_by_stays_too(world: World) -> None:
    """The third seed knows only the second, whose first verdict knew the first, which was found invalid since."""
    keep(world, EVERYTHING)
    seeds = [a_run(world, f"seed-{i}", config={"lr": 1, "seed": i}, seed=i).run_id for i in range(3)]
    posted(world, seeds[0])
    posted(world, seeds[1])
    world.run(marking_run(seeds[0]))
    judge_again(world)
    posted(world, seeds[2])
    judge_again(world)
    archive(world, seeds[0])
    archive(world, seeds[1])
    deliver(world)

    assert purge_all(world)["runs"] == 0

    assert wrongly_recomputed(world) == []


def test_what_an_open_alert_names_stays_until_it_is_resolved(world: World) -> None:
    keep(world, EVERYTHING)
    world.run(bootstrapping(posted(world, a_run(world, "champion", config={"lr": 1}).run_id)))
    bad = a_run(world, "bad", config={"lr": 2}).run_id
    posted(world, bad, BAD)
    assert open_alerts(world, project_id(world))
    archive(world, bad)
    deliver(world)

    while_open = purge_all(world)
    resolve_alerts(world, at=LATER)
    when_resolved = purge_all(world)

    assert while_open["runs"] == 0
    assert when_resolved["runs"] == 1
    assert orphans(world) == {}
    assert world.run(lambda session: session.execute(select(alert.c.id)).all()) == []


def test_a_run_whose_news_is_owed_stays_until_it_is_told(world: World) -> None:
    keep(world, EVERYTHING)
    gone = a_run(world, "gone").run_id
    posted(world, gone)
    archive(world, gone)

    assert purge_all(world)["runs"] == 0
    deliver(world)
    assert purge_all(world)["runs"] == 1


def test_whose_shares_are_the_weights_stays(world: World) -> None:
    keep(world, EVERYTHING)
    run_id = a_run(world, "run").run_id
    watched = posted(world, run_id, purpose=Purpose.PROGRESS, step=1)
    world.run(
        lambda session: session.execute(text("UPDATE suite SET weights_evaluation_id = :id"), {"id": watched})
    )

    assert purge_all(world)["progress"] == 0


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
