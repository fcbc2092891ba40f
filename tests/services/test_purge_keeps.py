"""What anything depends on stays, whatever its age and the project's retention."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from app.db.tables import alert
from app.domain.evaluations import Purpose
from tests.db.backups.full import wrongly_recomputed
from tests.services.claims import (
    BAD,
    BETTER,
    bootstrapping,
    judge_again,
    marking_run,
    open_alerts,
    posted,
    promoting,
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
from tests.services.world import World, a_run


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world_with_weights(database_url) as world:
        yield world


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
