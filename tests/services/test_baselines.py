from __future__ import annotations

import math
from uuid import UUID, uuid4

import pytest

from app.db.projects import ProjectRow
from app.domain.access import Role
from app.domain.alerts import AlertKind, Level, State
from app.domain.evaluations import Purpose
from app.domain.outcomes import Gate
from app.domain.policies import policy_from_document
from app.domain.promotion import EventKind
from app.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.services.policies import put_policy
from app.services.runs import archive_run
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_suite,
    alerts,
    bootstrapping,
    events,
    judge_again,
    marking_run,
    messages,
    moving,
    pointer,
    posted,
    promoting,
    verdict,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run, somebody


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


@pytest.fixture
def suite_id(world: World, project: ProjectRow) -> UUID:
    return a_suite(world)


def with_limit(world: World, **limit: float) -> None:
    policy = policy_from_document({"rule": [{"metric": "log2_mse", "overall": True, **limit}]})
    world.run(lambda session: put_policy(session, ADMIN, project_key="burgers", policy=policy, now=NOW))


def test_a_suite_begins_without_champion_at_version_0(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    posted(world, a_run(world, "first").run_id)

    found = pointer(world, project.id, suite_id)

    assert (found.version, found.evaluation_id) == (0, None)


def test_bootstrap_then_promote_moves_the_pointer(world: World, project: ProjectRow, suite_id: UUID) -> None:
    first = posted(world, a_run(world, "first").run_id, GOOD)
    second = posted(world, a_run(world, "second").run_id, BETTER)

    world.run(bootstrapping(first, reason="the first"))
    event = world.run(promoting(second, version=1))

    assert (event.version, event.kind, event.gate) == (2, "promote", "open")
    assert (event.run_key, event.previous_run_key) == ("second", "first")
    assert pointer(world, project.id, suite_id).evaluation_id == second
    assert [row.version for row in events(world, project.id, suite_id)] == [2, 1]
    assert [a for a in world.audit(project.id) if a[0] == "baseline.promote"] == [
        ("baseline.promote", "baseline heights/final")
    ] * 2
    moved = messages(world, project.id, "baseline.moved")
    assert [message.payload["version"] for message in moved] == [1, 2]


def test_the_gate_is_recomputed_against_the_champion_of_that_moment(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    posted_early = posted(world, a_run(world, "early").run_id, GOOD)
    first = posted(world, a_run(world, "first").run_id, GOOD)
    world.run(bootstrapping(first))
    second = posted(world, a_run(world, "second").run_id, {group: x / 2 for group, x in GOOD.items()})
    world.run(promoting(second, version=1))

    with pytest.raises(Conflict) as refusal:
        world.run(promoting(posted_early, version=2))

    assert any("regressed" in reason for reason in refusal.value.reasons)
    assert pointer(world, project.id, suite_id).evaluation_id == second
    assert len(events(world, project.id, suite_id)) == 2


def test_promotion_is_judged_by_the_newest_policy(world: World, project: ProjectRow, suite_id: UUID) -> None:
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    second = posted(world, a_run(world, "second").run_id, BETTER)
    assert verdict(world, project.id, second).gate is Gate.OPEN
    with_limit(world, max=0.01)

    with pytest.raises(Conflict):
        world.run(promoting(second, version=1))


def test_a_pointer_that_moved_says_who_and_when(world: World, project: ProjectRow, suite_id: UUID) -> None:
    first = posted(world, a_run(world, "first").run_id, GOOD)
    second = posted(world, a_run(world, "second").run_id, BETTER)
    world.run(bootstrapping(first, actor=somebody(Role.MAINTAINER, project)))

    with pytest.raises(Conflict) as refusal:
        world.run(bootstrapping(second))

    assert "a maintainer of burgers" in refusal.value.message
    assert "2026-11-20T12:01:00" in refusal.value.message
    assert refusal.value.field == "expected_version"


def test_not_better_is_no_promotion(world: World, project: ProjectRow, suite_id: UUID) -> None:
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    slightly_worse = posted(world, a_run(world, "second").run_id, {g: x * 1.01 for g, x in GOOD.items()})

    with pytest.raises(Conflict) as refusal:
        world.run(promoting(slightly_worse, version=1))

    assert verdict(world, project.id, slightly_worse).gate is Gate.OPEN
    assert [reason.partition(":")[0] for reason in refusal.value.reasons] == ["not_better"]


def test_a_limit_that_is_not_met_needs_a_reason_to_bootstrap_and_is_listed(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    with_limit(world, max=0.01)
    first = posted(world, a_run(world, "first").run_id, GOOD)

    with pytest.raises(Conflict) as refusal:
        world.run(bootstrapping(first))
    event = world.run(bootstrapping(first, reason="we have to begin somewhere"))

    assert "limits_not_met" in refusal.value.reasons[0]
    assert [check["rule"] for check in event.detail["unmet"]] == ["limit"]
    assert event.reason == "we have to begin somewhere"
    assert event.policy_version == 2


def test_an_override_needs_a_reason_and_is_alerted(world: World, project: ProjectRow, suite_id: UUID) -> None:
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    second = posted(world, a_run(world, "second").run_id, BAD)
    override = EventKind.OVERRIDE

    with pytest.raises(Conflict, match="reason"):
        world.run(moving(override, second, version=1))
    event = world.run(moving(override, second, version=1, reason="the hard set is wrong"))

    assert (event.kind, event.gate) == ("override", "closed")
    found = [row.alert for row in alerts(world, project.id) if row.alert.kind is AlertKind.OVERRIDE]
    assert [(alert.state, alert.level, alert.count) for alert in found] == [(State.OPEN, Level.WARN, 1)]
    assert "the hard set is wrong" in found[0].lines[0].text
    assert ("baseline.override", "baseline heights/final") in world.audit(project.id)


def test_a_rollback_points_back_and_says_to_which_event(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    first = posted(world, a_run(world, "first").run_id, GOOD)
    second = posted(world, a_run(world, "second").run_id, BETTER)
    world.run(bootstrapping(first))
    world.run(promoting(second, version=1))

    event = world.run(moving(EventKind.ROLLBACK, version=2, reason="numbers look odd"))

    assert (event.kind, event.evaluation_id, event.to_version, event.version) == ("rollback", first, 1, 3)
    assert pointer(world, project.id, suite_id).evaluation_id == first
    with pytest.raises(InvalidInput):
        world.run(moving(EventKind.ROLLBACK, version=3, to_version=17))
    with pytest.raises(InvalidInput):
        world.run(moving(EventKind.ROLLBACK, second, version=3))


def test_a_rollback_passes_over_what_may_not_be_champion(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    runs = [a_run(world, key) for key in ("a", "b", "c", "d")]
    ids = [posted(world, run.run_id, {g: x * 0.9**i for g, x in GOOD.items()}) for i, run in enumerate(runs)]
    world.run(bootstrapping(ids[0]))
    for version, evaluation_id in enumerate(ids[1:], start=1):
        world.run(promoting(evaluation_id, version=version))
    world.run(marking_run(runs[2].run_id))
    world.run(lambda session: archive_run(session, ADMIN, run_id=runs[1].run_id, now=NOW))

    event = world.run(moving(EventKind.ROLLBACK, version=4))

    assert event.evaluation_id == ids[0]
    with pytest.raises(Conflict, match="is invalid"):
        world.run(moving(EventKind.ROLLBACK, version=5, to_version=3))


def test_what_is_never_champion(world: World, project: ProjectRow, suite_id: UUID) -> None:
    progress = posted(world, a_run(world, "a").run_id, purpose=Purpose.PROGRESS)
    not_a_number = posted(world, a_run(world, "b").run_id, {**GOOD, "hard": math.nan})
    invalid, archived = a_run(world, "c"), a_run(world, "d")
    of_invalid, of_archived = posted(world, invalid.run_id), posted(world, archived.run_id)
    world.run(marking_run(invalid.run_id))
    world.run(lambda session: archive_run(session, ADMIN, run_id=archived.run_id, now=NOW))

    for evaluation_id in (progress, not_a_number, of_invalid, of_archived):
        for kind in (EventKind.BOOTSTRAP, EventKind.OVERRIDE):
            with pytest.raises(Conflict):
                world.run(moving(kind, evaluation_id, version=0, reason="please"))

    assert pointer(world, project.id, suite_id).version == 0
    assert events(world, project.id, suite_id) == []


def test_who_may_move_the_pointer(world: World, project: ProjectRow, suite_id: UUID) -> None:
    first = posted(world, a_run(world, "first").run_id)

    for role in (Role.VIEWER, Role.REPORTER):
        with pytest.raises(Forbidden):
            world.run(bootstrapping(first, actor=somebody(role, project)))
    with pytest.raises(NotFound):
        world.run(bootstrapping(first, project="other"))
    assert world.run(bootstrapping(first, actor=somebody(Role.MAINTAINER, project))).version == 1


def test_an_evaluation_of_another_suite_stage_or_project_is_no_candidate(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    a_suite(world, key="other")
    run = a_run(world, "first")
    of_other = posted(world, run.run_id, suite="other")
    of_stage = posted(world, run.run_id, stage="dev")

    for evaluation_id in (of_other, of_stage):
        with pytest.raises(InvalidInput):
            world.run(bootstrapping(evaluation_id))
    with pytest.raises(NotFound):
        world.run(bootstrapping(uuid4()))
    with pytest.raises(InvalidInput):
        world.run(moving(EventKind.INVALIDATE, of_stage, version=0))
    with pytest.raises(InvalidInput):
        world.run(moving(EventKind.PROMOTE, version=0))


def test_the_champion_of_one_stage_is_nobody_in_another(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id)))

    dev = posted(world, a_run(world, "second").run_id, BAD, stage="dev")

    assert verdict(world, project.id, dev).gate is Gate.UNDECIDED
    assert pointer(world, project.id, suite_id, "dev").version == 0
    assert judge_again(world) == 1
