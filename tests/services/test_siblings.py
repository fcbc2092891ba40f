"""Runs of one recipe judge and are judged together, whatever order they come in."""

from __future__ import annotations

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.tables import seed_set
from app.domain.evaluations import Purpose, Validity
from app.domain.outcomes import Gate
from app.domain.promotion import EventKind
from app.services.evaluations import assessment_input, recompute, recorded_input
from app.services.runs import archive_run
from tests.services.claims import (
    GOOD,
    a_post,
    a_suite,
    assessed,
    bootstrapping,
    judge_again,
    marking_evaluation,
    marking_run,
    moving,
    posted,
    posting,
    promoting,
    verdict,
)
from tests.services.seeds import NEW, OLD, a_seed, run_of, scaled
from tests.services.world import ADMIN, NOW, World, a_project, a_run


def siblings(world: World, project: UUID, evaluation_id: UUID) -> tuple[set[str], set[str]]:
    """Runs that the newest verdict took for siblings of the candidate, and of the champion."""
    row = assessed(world, project, evaluation_id)[0]
    inputs = world.run(lambda session: recorded_input(session, row))
    return (
        {sibling.evaluation.run for sibling in inputs.siblings},
        {sibling.evaluation.run for sibling in inputs.champion.siblings} if inputs.champion else set(),
    )


def former(world: World, project: UUID, evaluation_id: UUID) -> list[str]:
    row = assessed(world, project, evaluation_id)[0]
    return [seat.evaluation.run for seat in world.run(lambda s: recorded_input(s, row)).history]


def is_settled(world: World) -> bool:
    query = select(seed_set).where(seed_set.c.judged_version < seed_set.c.version, seed_set.c.recipe != b"")
    return not world.run(lambda session: session.execute(query).all())


def test_a_verdict_is_computed_from_the_siblings_of_both_sides(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    for seed in (1, 2):
        a_seed(world, seed, OLD)
    world.run(bootstrapping(champion))
    a_seed(world, 0, NEW)

    candidate = a_seed(world, 1, NEW, 0.9)

    assert siblings(world, project.id, candidate) == ({"lr0.2-seed0"}, {"lr0.1-seed1", "lr0.1-seed2"})
    row = assessed(world, project.id, candidate)[0]
    assert world.run(lambda session: recompute(session, row)) == verdict(world, project.id, candidate)


def test_a_sibling_that_arrives_has_its_siblings_judged_again(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    world.run(bootstrapping(a_seed(world, 0, OLD)))
    first = a_seed(world, 0, NEW)
    judge_again(world)

    a_seed(world, 1, NEW)

    assert judge_again(world) == 1
    assert [row.cause for row in assessed(world, project.id, first)] == ["seeds_changed", "posted"]
    assert siblings(world, project.id, first)[0] == {"lr0.2-seed1"}
    assert is_settled(world)
    assert judge_again(world) == 0


def test_a_sibling_of_the_champion_has_every_candidate_judged_again(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    world.run(bootstrapping(champion))
    candidates = [a_seed(world, 0, {"lr": lr}) for lr in (0.2, 0.3)]
    judge_again(world)

    a_seed(world, 1, OLD)

    # The candidates, and the champion itself, whose recipe has changed too.
    assert judge_again(world) == 3
    for candidate in candidates:
        assert assessed(world, project.id, candidate)[0].cause == "seeds_changed"
        assert siblings(world, project.id, candidate)[1] == {"lr0.1-seed1"}


def test_a_second_evaluation_of_the_champions_own_run_disturbs_no_candidate(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    world.run(bootstrapping(champion))
    candidate = a_seed(world, 0, NEW)
    judge_again(world)

    posted(world, run_of(world, project.id, champion), scaled(1.1), step=9)

    assert judge_again(world) == 0
    assert len(assessed(world, project.id, candidate)) == 1


def test_the_order_in_which_seeds_arrive_does_not_change_the_newest_verdicts(world: World) -> None:
    recipes = {"champion": (OLD, 0), "a": (OLD, 1), "b": (OLD, 2), "c": (NEW, 0), "d": (NEW, 1)}
    ids = {name: UUID(int=i + 1) for i, name in enumerate(recipes)}
    seen = []
    for number, order in enumerate(list(permutations("abcd"))[::5]):
        key = f"order{number}"
        project = a_project(world, key)
        a_suite(world, project=key)
        for name in ("champion", *order):
            config, seed = recipes[name]
            run = a_run(world, name, project=key, config=config, seed=seed)
            factor = 1 + 0.01 * seed + (0.07 if config is NEW else 0)
            posted(world, run.run_id, scaled(factor), evaluation_id=ids[name])
            if name == "champion":
                world.run(bootstrapping(ids[name], project=key))
        judge_again(world)
        seen.append([verdict(world, project.id, ids[name]) for name in recipes])

    assert all(verdicts == seen[0] for verdicts in seen)


def test_the_same_seed_again_is_no_other_draw(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    world.run(bootstrapping(a_seed(world, 0, OLD)))
    candidate = a_seed(world, 7, NEW, key="first")
    a_seed(world, 7, NEW, 0.5, key="the-best-one-again")
    a_seed(world, 8, NEW, key="another")
    a_seed(world, 8, NEW, key="another-again")
    judge_again(world)

    beside, _ = siblings(world, project.id, candidate)

    assert beside in ({"another"}, {"another-again"})


@pytest.mark.parametrize(
    ("says", "known"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({"git_commit": "ab12"}, False, id="only a commit"),
        pytest.param({"config": {"output_dir": "/a"}, "git_commit": "ab12"}, False, id="only volatile keys"),
        pytest.param({"git_commit": "ab12", "seed": True}, True, id="a commit and a seed"),
        pytest.param({"config": {"lr": 0.1}}, True, id="a configuration"),
    ],
)
def test_runs_of_which_too_little_is_known_are_no_siblings(
    world: World, says: dict[str, object], known: bool
) -> None:
    project, _ = a_project(world), a_suite(world)
    for number in range(3):
        run = a_run(world, f"run-{number}", **says | ({"seed": number} if "seed" in says else {}))
        newest = posted(world, run.run_id, GOOD)

    assert siblings(world, project.id, newest)[0] == ({"run-0", "run-1"} if known else set())


def test_a_candidate_of_the_champions_own_recipe_stands_for_itself(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    a_seed(world, 1, OLD)
    world.run(bootstrapping(champion))

    candidate = a_seed(world, 2, OLD)

    assert siblings(world, project.id, candidate) == (set(), {"lr0.1-seed1"})


def test_the_champion_is_measured_against_itself_alone(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    for seed in (1, 2, 3):
        a_seed(world, seed, OLD, 0.5)
    world.run(bootstrapping(champion))
    judge_again(world)

    assert siblings(world, project.id, champion) == (set(), set())
    assert verdict(world, project.id, champion).gate is Gate.OPEN


def test_a_measurement_during_training_has_no_siblings_of_its_own(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    a_seed(world, 1, OLD)
    world.run(bootstrapping(champion))
    a_seed(world, 0, NEW)

    progress = a_seed(world, 1, NEW, purpose=Purpose.PROGRESS, step=3)

    assert siblings(world, project.id, progress) == (set(), {"lr0.1-seed1"})


@pytest.mark.parametrize("what", ["run", "evaluation"])
def test_an_invalid_sibling_leaves_and_comes_back_when_it_is_restored(world: World, what: str) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    world.run(bootstrapping(champion))
    rival = a_seed(world, 1, OLD)
    candidate, sibling = a_seed(world, 0, NEW), a_seed(world, 1, NEW)
    judge_again(world)
    both = ({"lr0.2-seed1"}, {"lr0.1-seed1"})

    def mark(evaluation_id: UUID, mark: Validity) -> None:
        if what == "run":
            world.run(marking_run(run_of(world, project.id, evaluation_id), mark))
        else:
            world.run(marking_evaluation(evaluation_id, mark))

    assert siblings(world, project.id, candidate) == both
    for each, left in ((sibling, (set(), both[1])), (rival, (both[0], set()))):
        mark(each, Validity.INVALID)
        assert judge_again(world) > 0
        assert siblings(world, project.id, candidate) == left
        mark(each, Validity.VALID)
        assert judge_again(world) > 0
        assert siblings(world, project.id, candidate) == both


@pytest.mark.parametrize("marking", [marking_run, marking_evaluation])
def test_a_suspect_sibling_stays_and_nothing_is_judged_again(world: World, marking: Any) -> None:
    project, _ = a_project(world), a_suite(world)
    world.run(bootstrapping(a_seed(world, 0, OLD)))
    candidate, sibling = a_seed(world, 0, NEW), a_seed(world, 1, NEW)
    judge_again(world)

    is_run = marking is marking_run
    world.run(marking(run_of(world, project.id, sibling) if is_run else sibling, Validity.SUSPECT))

    assert judge_again(world) == 0
    assert siblings(world, project.id, candidate)[0] == {"lr0.2-seed1"}


def test_a_run_that_corrects_its_configuration_changes_sides(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    world.run(bootstrapping(a_seed(world, 0, OLD)))
    candidate, other = a_seed(world, 0, NEW), a_seed(world, 0, {"lr": 0.3})
    for seed in (1, 2):
        a_seed(world, seed, {"lr": 0.3})
    judge_again(world)

    a_run(world, "lr0.2-seed0", config={"lr": 0.3}, seed=9)
    judge_again(world)

    assert siblings(world, project.id, candidate)[0] == {"lr0.3-seed0", "lr0.3-seed1", "lr0.3-seed2"}
    assert siblings(world, project.id, other)[0] == {"lr0.2-seed0", "lr0.3-seed1", "lr0.3-seed2"}


def test_seeds_posted_at_once_end_up_as_siblings(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    world.run(bootstrapping(champion))
    runs = [a_run(world, f"s{seed}", config=NEW, seed=seed) for seed in range(4)]
    runs += [a_run(world, f"c{seed}", config=OLD, seed=seed) for seed in range(1, 4)]

    recorded = world.together(*[posting(run.run_id, a_post(GOOD)) for run in runs])
    judge_again(world)

    for run, each in zip(runs, recorded, strict=True):
        beside, rivals = siblings(world, project.id, each.evaluation_id)
        own = {other.key for other in runs if other.key[0] == "s"} if run.key[0] == "s" else set()
        assert beside == own - {run.key}
        assert rivals == {"c1", "c2", "c3"} - {run.key}


def test_former_champions_are_remembered_until_an_override(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    seats = [a_seed(world, 0, {"lr": float(i)}, 1 - 0.1 * i) for i in range(5)]
    names = [f"lr{float(i)}-seed0" for i in range(5)]
    world.run(bootstrapping(seats[0]))
    for i in (1, 2):
        world.run(promoting(seats[i], version=i))
    candidate = a_seed(world, 0, NEW, 0.5)
    judge_again(world)
    assert former(world, project.id, candidate) == names[:2]

    world.run(moving(EventKind.ROLLBACK, version=3))
    judge_again(world)
    assert former(world, project.id, candidate) == names[:1]

    world.run(moving(EventKind.OVERRIDE, seats[3], version=4, reason="a new beginning"))
    judge_again(world)
    assert former(world, project.id, candidate) == []

    world.run(promoting(seats[4], version=5))
    judge_again(world)
    assert former(world, project.id, candidate) == names[3:4]


def test_an_invalid_former_champion_is_forgotten_and_an_archived_one_is_not(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    first, second = a_seed(world, 0, OLD), a_seed(world, 0, {"lr": 0.5}, 0.9)
    world.run(bootstrapping(first))
    world.run(promoting(second, version=1))
    candidate = a_seed(world, 0, NEW, 0.8)

    world.run(marking_run(run_of(world, project.id, first)))
    judge_again(world)
    assert former(world, project.id, candidate) == []

    world.run(marking_run(run_of(world, project.id, first), Validity.VALID))
    archived = run_of(world, project.id, first)
    world.run(lambda session: archive_run(session, ADMIN, run_id=archived, now=NOW))
    judge_again(world)
    assert former(world, project.id, candidate) == ["lr0.1-seed0"]


def test_what_would_be_judged_now_is_what_was_judged(world: World) -> None:
    project, _ = a_project(world), a_suite(world)
    champion = a_seed(world, 0, OLD)
    world.run(bootstrapping(champion))
    for seed in (1, 2):
        a_seed(world, seed, OLD)
    candidate = a_seed(world, 0, NEW)
    judge_again(world)

    row = assessed(world, project.id, candidate)[0]

    assert world.run(lambda s: assessment_input(s, project.id, candidate)) == world.run(
        lambda s: recorded_input(s, row)
    )
