"""What the seeds of a recipe do to gates, to alerts, and to many small steps."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.domain.outcomes import Gate, Outcome, Rule
from app.errors import Conflict
from tests.services.claims import (
    GOOD,
    a_suite,
    assessed,
    bootstrapping,
    judge_again,
    marking_run,
    messages,
    open_alerts,
    posted,
    promoting,
    verdict,
)
from tests.services.seeds import NEW, OLD, a_seed, run_of
from tests.services.world import World, a_project, a_run


def with_seeds(world: World, project: UUID, config: dict[str, float], factors: list[float]) -> list[UUID]:
    """One evaluation a seed, each scaled by its factor; judged again until nothing is stale."""
    ids = [a_seed(world, seed, config, factor) for seed, factor in enumerate(factors)]
    judge_again(world)
    return ids


def test_a_seed_that_opens_the_gate_resolves_the_alert_and_one_that_closes_it_alerts(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion, *_ = with_seeds(world, project.id, OLD, [1.0, 1.01, 0.99])
    world.run(bootstrapping(champion))
    unlucky = a_seed(world, 0, NEW, 1.2)
    assert verdict(world, project.id, unlucky).gate is Gate.CLOSED
    assert len(open_alerts(world, project.id)) == 1

    lucky = a_seed(world, 1, NEW, 0.8)
    judge_again(world)
    assert verdict(world, project.id, unlucky).gate is Gate.OPEN
    assert open_alerts(world, project.id) == []

    world.run(marking_run(run_of(world, project.id, lucky)))
    judge_again(world)
    assert verdict(world, project.id, unlucky).gate is Gate.CLOSED
    assert len(open_alerts(world, project.id)) == 1


def test_a_seed_that_changes_no_gate_alerts_nobody(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion, *_ = with_seeds(world, project.id, OLD, [1.0, 1.01, 0.99])
    world.run(bootstrapping(champion))
    candidate = a_seed(world, 0, NEW, 1.02)
    before = len(messages(world, project.id, "alert.changed"))

    a_seed(world, 1, NEW, 1.03)
    judge_again(world)

    assert assessed(world, project.id, candidate)[0].cause == "seeds_changed"
    assert verdict(world, project.id, candidate).gate is Gate.OPEN
    assert len(messages(world, project.id, "alert.changed")) == before


def test_a_change_that_the_seeds_could_explain_is_inconclusive_until_there_are_more(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion, *_ = with_seeds(world, project.id, OLD, [1.0, 1.12, 0.88, 1.08, 0.92])
    world.run(bootstrapping(champion))

    candidate = a_seed(world, 0, NEW, 1.25)
    first = verdict(world, project.id, candidate)
    for seed in range(1, 8):
        a_seed(world, seed, NEW, 1.25)
    judge_again(world)

    assert first.gate is Gate.UNDECIDED
    in_groups = [c for c in first.checks if c.rule is Rule.REGRESSION and c.group in GOOD]
    assert {c.outcome for c in in_groups} == {Outcome.INCONCLUSIVE}
    assert "more seeds" in first.sentence
    assert verdict(world, project.id, candidate).gate is Gate.CLOSED


def test_many_small_steps_do_not_creep(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    steps = []
    for i in range(5):
        run = a_run(world, f"step-{i}", config={"lr": float(i)})
        groups = {"easy": 0.10 * 1.04**i, "mid": 0.20 * 0.9**i, "hard": 0.40 * 0.9**i}
        steps.append(posted(world, run.run_id, groups))
        if i == 0:
            world.run(bootstrapping(steps[0]))
        elif i < 4:
            world.run(promoting(steps[i], version=i))

    last = verdict(world, project.id, steps[4])

    assert last.gate is Gate.CLOSED
    # Its tier is the group alone.
    assert {(c.rule, c.group) for c in last.checks if c.reason == "creep"} == {
        (Rule.TREND, "easy"),
        (Rule.TREND, "tier:easy"),
    }
    with pytest.raises(Conflict, match="crept"):
        world.run(promoting(steps[4], version=4))
    assert [alert.alert.kind for alert in open_alerts(world, project.id)] == ["regression"]
