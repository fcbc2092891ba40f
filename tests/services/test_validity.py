from __future__ import annotations

from uuid import UUID

import pytest

from app.db.leaderboards import Rows
from app.db.projects import ProjectRow
from app.domain.access import Role
from app.domain.alerts import State
from app.domain.evaluations import Validity
from app.domain.outcomes import Gate
from app.errors import Forbidden, InvalidInput, NotFound
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_suite,
    alerts,
    assessed,
    board,
    bootstrapping,
    events,
    judge_again,
    marking_evaluation,
    marking_run,
    messages,
    pointer,
    posted,
    promoting,
    row_of,
    verdict,
)
from tests.services.world import World, a_project, a_run, somebody


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


@pytest.fixture
def suite_id(world: World, project: ProjectRow) -> UUID:
    return a_suite(world)


def test_invalidating_a_champions_run_hands_the_crown_back(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    first = posted(world, a_run(world, "first").run_id, GOOD)
    run = a_run(world, "second")
    second = posted(world, run.run_id, BETTER)
    world.run(bootstrapping(first))
    world.run(promoting(second, version=1))

    world.run(marking_run(run.run_id, reason="leaked"))

    event = events(world, project.id, suite_id)[0]
    assert (event.kind, event.version, event.to_version, event.reason) == ("invalidate", 3, 1, "leaked")
    assert pointer(world, project.id, suite_id).evaluation_id == first
    assert [item.run_key for item in board(world, project.id, suite_id)] == ["first"]
    assert verdict(world, project.id, second).gate is Gate.CLOSED
    assert "leaked" in verdict(world, project.id, second).sentence
    audited = [(row.action, row.subject) for row in world.audit_rows(project.id)][-2:]
    assert audited == [("validity.change", "baseline heights/final"), ("validity.change", "run second")]


def test_every_seat_of_the_run_is_handed_back(world: World, project: ProjectRow, suite_id: UUID) -> None:
    other_id = a_suite(world, key="other")
    run = a_run(world, "first")
    for suite, stage in (("heights", "final"), ("heights", "dev"), ("other", "final")):
        evaluation_id = posted(world, run.run_id, suite=suite, stage=stage)
        world.run(bootstrapping(evaluation_id, suite=suite, stage=stage))

    world.run(marking_run(run.run_id))

    seats = ((suite_id, "final"), (suite_id, "dev"), (other_id, "final"))
    found = [pointer(world, project.id, *seat) for seat in seats]
    assert [(seat.version, seat.evaluation_id) for seat in found] == [(2, None)] * 3


def test_what_was_measured_against_it_is_judged_again_as_a_new_assessment(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    run = a_run(world, "too-good")
    first = posted(world, a_run(world, "first").run_id, GOOD)
    leaked = posted(world, run.run_id, {group: x / 10 for group, x in GOOD.items()})
    world.run(bootstrapping(first))
    world.run(promoting(leaked, version=1))
    honest = a_run(world, "honest")
    older = posted(world, honest.run_id, GOOD, step=1)
    newer = posted(world, honest.run_id, BETTER, step=2)
    assert verdict(world, project.id, newer).gate is Gate.CLOSED

    world.run(marking_run(run.run_id))
    judged = judge_again(world, limit=1)

    # Older is not its run's latest, but it was measured against what has fallen; then first, leaked and newer.
    assert judged == 4
    assert verdict(world, project.id, newer).gate is Gate.OPEN
    assert [row.cause for row in assessed(world, project.id, newer)] == ["champion_invalid", "posted"]
    assert [row.cause for row in assessed(world, project.id, older)] == ["champion_invalid", "posted"]
    assert assessed(world, project.id, newer)[0].baseline_evaluation_id == first
    assert assessed(world, project.id, newer)[1].baseline_evaluation_id == leaked
    assert judge_again(world) == 0


def test_restoring_gives_back_validity_but_never_the_crown(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    first = posted(world, a_run(world, "first").run_id, GOOD)
    run = a_run(world, "second")
    second = posted(world, run.run_id, BETTER)
    world.run(bootstrapping(first))
    world.run(promoting(second, version=1))
    world.run(marking_run(run.run_id))

    world.run(marking_run(run.run_id, Validity.VALID, reason="it was the other one"))
    judge_again(world)

    assert pointer(world, project.id, suite_id).evaluation_id == first
    assert len(events(world, project.id, suite_id)) == 3
    assert [item.run_key for item in board(world, project.id, suite_id)] == ["second", "first"]
    assert verdict(world, project.id, second).gate is Gate.OPEN
    assert world.run(promoting(second, version=3)).version == 4


def test_invalidating_the_latest_evaluation_makes_the_one_before_it_latest(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    run = a_run(world, "first")
    old, new = (posted(world, run.run_id, groups, step=step) for step, groups in ((1, GOOD), (2, BETTER)))

    world.run(marking_evaluation(new))

    assert [item.evaluation_id for item in board(world, project.id, suite_id)] == [old]
    assert (row_of(world, project.id, old).is_latest, row_of(world, project.id, new).is_latest) == (
        True,
        False,
    )
    shown = board(world, project.id, suite_id, ineligible=True)
    assert {(item.evaluation_id, item.eligible, item.reason) for item in shown} == {
        (old, True, None),
        (new, False, "wrong file"),
    }
    world.run(marking_evaluation(new, Validity.VALID, reason=None))
    assert [item.evaluation_id for item in board(world, project.id, suite_id)] == [new]
    assert len(board(world, project.id, suite_id, rows=Rows.EVALUATIONS)) == 2


def test_an_evaluation_that_becomes_latest_again_is_judged_against_the_champion_of_today(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    run = a_run(world, "second")
    old, new = (posted(world, run.run_id, BETTER, step=step) for step in (1, 2))
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    judge_again(world)
    assert verdict(world, project.id, old).gate is Gate.UNDECIDED

    world.run(marking_evaluation(new))
    judge_again(world)

    assert verdict(world, project.id, old).gate is Gate.OPEN


def test_suspect_is_shown_and_closes_nothing(world: World, project: ProjectRow, suite_id: UUID) -> None:
    run = a_run(world, "first")
    first = posted(world, run.run_id)
    world.run(bootstrapping(first))

    world.run(marking_run(run.run_id, Validity.SUSPECT, reason="odd loss"))

    assert pointer(world, project.id, suite_id).evaluation_id == first
    item = board(world, project.id, suite_id)[0]
    assert (item.eligible, item.validity, item.reason) == (True, "suspect", "odd loss")
    assert world.run(marking_run(run.run_id, Validity.VALID)).validity_reason is None


def test_saying_what_is_known_leaves_no_trace(world: World, project: ProjectRow, suite_id: UUID) -> None:
    run = a_run(world, "first")
    evaluation_id = posted(world, run.run_id)
    world.run(marking_run(run.run_id))
    world.run(marking_evaluation(evaluation_id))
    before = (messages(world, project.id), world.audit(project.id))

    world.run(marking_run(run.run_id))
    world.run(marking_evaluation(evaluation_id))

    assert (messages(world, project.id), world.audit(project.id)) == before


def test_doubt_needs_a_reason_and_the_right_to_doubt(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    run = a_run(world, "first")
    evaluation_id = posted(world, run.run_id)

    for reason in (None, "", "  "):
        with pytest.raises(InvalidInput):
            world.run(marking_run(run.run_id, reason=reason))
        with pytest.raises(InvalidInput):
            world.run(marking_evaluation(evaluation_id, reason=reason))
    with pytest.raises(Forbidden):
        world.run(marking_run(run.run_id, actor=somebody(Role.REPORTER, project)))
    with pytest.raises(NotFound):
        world.run(marking_evaluation(run.run_id))


def test_alerts_of_a_run_follow_what_is_left_to_believe(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    run = a_run(world, "second")
    posted(world, run.run_id, GOOD, step=1)
    bad = posted(world, run.run_id, BAD, step=2)
    assert [row.alert.state for row in alerts(world, project.id)] == [State.OPEN]

    world.run(marking_evaluation(bad))
    resolved = [row.alert.state for row in alerts(world, project.id)]
    world.run(marking_evaluation(bad, Validity.VALID, reason=None))
    reopened = [row.alert.state for row in alerts(world, project.id)]
    world.run(marking_run(run.run_id))
    stays = [row.alert.state for row in alerts(world, project.id)]

    assert (resolved, reopened, stays) == ([State.RESOLVED], [State.OPEN], [State.OPEN])
