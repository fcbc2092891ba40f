from __future__ import annotations

import math
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.db import evaluations, suites
from app.db.projects import ProjectRow
from app.domain.access import Actor, Role
from app.domain.evaluations import Bound, Loss, Purpose, Stated, Validity, Value
from app.domain.outcomes import Gate, Outcome
from app.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.services.evaluations import PostedEvaluation, content_digest
from app.services.runs import archive_run
from tests.services.claims import (
    BAD,
    GOOD,
    METRIC,
    a_post,
    a_suite,
    alerts,
    board,
    bootstrapping,
    marking_run,
    messages,
    posted,
    posting,
    row_of,
    verdict,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run, somebody


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def test_a_regressed_group_closes_the_gate_and_is_named(world: World, project: ProjectRow) -> None:
    a_suite(world)
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))

    second = posted(world, a_run(world, "second").run_id, BAD)

    found = verdict(world, project.id, second)
    assert found.gate is Gate.CLOSED
    regressed = {c.group for c in found.checks if c.required and c.outcome is Outcome.REGRESSED}
    assert "hard" in regressed
    assert "easy" not in regressed
    assert "hard" in found.sentence
    assert row_of(world, project.id, second).judged_version == 1


def test_the_same_post_again_is_known_and_changes_nothing(world: World, project: ProjectRow) -> None:
    a_suite(world)
    run = a_run(world, "first")
    call = posting(run.run_id, a_post(), evaluation_id=uuid4())
    first = world.run(call)
    before = (messages(world, project.id), world.audit(project.id))

    second = world.run(call)

    assert (first.created, second.created) == (True, False)
    assert second.evaluation_id == first.evaluation_id
    assert (messages(world, project.id), world.audit(project.id)) == before


def test_the_order_of_values_is_no_content(world: World, project: ProjectRow) -> None:
    a_suite(world)
    run, chosen, post = a_run(world, "first"), uuid4(), a_post()
    world.run(posting(run.run_id, post, evaluation_id=chosen))

    again = world.run(
        posting(run.run_id, replace(post, values=tuple(reversed(post.values))), evaluation_id=chosen)
    )

    assert not again.created


def other_contents() -> dict[str, PostedEvaluation]:
    post = a_post()
    first, *rest = post.values
    return {
        "value": replace(post, values=(replace(first, value=first.value + 1e-12), *rest)),
        "nan": replace(post, values=(replace(first, value=math.nan), *rest)),
        "n": replace(post, values=(replace(first, n=1001), *rest)),
        "n_unknown": replace(post, values=(replace(first, n=None), *rest)),
        "bound": replace(post, values=(replace(first, bound=Bound.AT_LEAST), *rest)),
        "stderr": replace(post, values=(replace(first, stderr=0.0), *rest)),
        "fewer_values": replace(post, values=tuple(rest)),
        "step": replace(post, step=0),
        "stage": replace(post, stage="dev"),
        "purpose": replace(post, purpose=Purpose.PROGRESS),
        "stated": replace(post, stated=Stated(n=1)),
        "loss": replace(post, loss=Loss(train=0.1)),
        "info": replace(post, info={"ttc": False}),
    }


@pytest.mark.parametrize("what", other_contents())
def test_the_same_id_with_other_content_is_refused(what: str, world: World, project: ProjectRow) -> None:
    a_suite(world)
    run, chosen = a_run(world, "first"), uuid4()
    world.run(posting(run.run_id, a_post(), evaluation_id=chosen))

    with pytest.raises(Conflict, match="other values; use a new id"):
        world.run(posting(run.run_id, other_contents()[what], evaluation_id=chosen))

    assert len({content_digest(post) for post in other_contents().values()}) == len(other_contents())


def test_the_same_id_in_another_run_is_refused(world: World, project: ProjectRow) -> None:
    a_suite(world)
    chosen = uuid4()
    world.run(posting(a_run(world, "first").run_id, a_post(), evaluation_id=chosen))

    with pytest.raises(Conflict, match="another run"):
        world.run(posting(a_run(world, "second").run_id, a_post(), evaluation_id=chosen))


def test_equal_posts_at_once_store_one_evaluation(world: World, project: ProjectRow) -> None:
    suite_id = a_suite(world)
    run, chosen = a_run(world, "first"), uuid4()

    answers = world.together(*(posting(run.run_id, a_post(), evaluation_id=chosen) for _ in range(8)))

    assert sorted(answer.created for answer in answers) == [False] * 7 + [True]
    assert len(board(world, project.id, suite_id)) == 1
    assert len(messages(world, project.id, "evaluation.judged")) == 1


def test_the_same_id_from_two_runs_at_once_is_stored_once_and_refused_once(
    world: World, project: ProjectRow
) -> None:
    a_suite(world)
    runs = [a_run(world, key).run_id for key in ("first", "second")]
    chosen = uuid4()
    first, second = (posting(run_id, a_post(), evaluation_id=chosen) for run_id in runs)

    answer, refusal = world.behind(first, second)

    assert answer.created
    assert isinstance(refusal, Conflict)
    assert row_of(world, project.id, chosen).run_id == runs[0]


def test_posts_of_many_runs_at_once_all_arrive(world: World, project: ProjectRow) -> None:
    suite_id = a_suite(world)
    runs = [a_run(world, f"run-{i}", run_group="sweep").run_id for i in range(8)]

    answers = world.together(*(posting(run_id, a_post(BAD)) for run_id in runs))

    assert all(answer.created for answer in answers)
    assert len(board(world, project.id, suite_id)) == 8


def test_a_progress_evaluation_is_judged_and_does_nothing_else(world: World, project: ProjectRow) -> None:
    suite_id = a_suite(world)
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    before = messages(world, project.id)

    evaluation_id = posted(world, a_run(world, "second").run_id, BAD, purpose=Purpose.PROGRESS)

    assert verdict(world, project.id, evaluation_id).gate is Gate.CLOSED
    assert [item.run_key for item in board(world, project.id, suite_id)] == ["first"]
    assert alerts(world, project.id) == []
    assert messages(world, project.id) == before


def test_messages_are_owed_only_to_sinks_that_are_enabled(world: World, project: ProjectRow) -> None:
    a_suite(world)
    with world.transaction() as session:
        session.connection().exec_driver_sql("UPDATE sink SET enabled = false")

    posted(world, a_run(world, "first").run_id)

    assert messages(world, project.id) == []


def test_a_post_to_an_invalid_run_is_kept_and_closed(world: World, project: ProjectRow) -> None:
    suite_id = a_suite(world)
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    run = a_run(world, "second")
    world.run(marking_run(run.run_id, reason="trained on the test set"))

    evaluation_id = posted(world, run.run_id, GOOD)

    found = verdict(world, project.id, evaluation_id)
    assert found.gate is Gate.CLOSED
    assert "trained on the test set" in found.sentence
    assert [item.run_key for item in board(world, project.id, suite_id)] == ["first"]
    world.run(marking_run(run.run_id, Validity.VALID, reason=None))
    assert verdict(world, project.id, evaluation_id).gate is Gate.OPEN


def test_an_archived_run_takes_no_more_but_answers_a_retry(world: World, project: ProjectRow) -> None:
    a_suite(world)
    run, chosen = a_run(world, "first"), uuid4()
    world.run(posting(run.run_id, a_post(), evaluation_id=chosen))
    world.run(lambda session: archive_run(session, ADMIN, run_id=run.run_id, now=NOW))

    again = world.run(posting(run.run_id, a_post(), evaluation_id=chosen))

    assert not again.created
    with pytest.raises(Conflict, match="archived"):
        posted(world, run.run_id)


def test_an_evaluation_belongs_to_the_attempt_it_names(world: World, project: ProjectRow) -> None:
    a_suite(world)
    run = a_run(world, "first")
    a_run(world, "first")
    with world.transaction() as session:
        first_attempt = session.connection().exec_driver_sql(
            "SELECT attempt_id FROM attempt WHERE number = 1"
        )
        attempt_id: UUID = first_attempt.scalar_one()

    named = posted(world, run.run_id, attempt_id=attempt_id)
    newest = posted(world, run.run_id)

    assert row_of(world, project.id, named).attempt == 1
    assert row_of(world, project.id, newest).attempt == 2
    assert row_of(world, project.id, newest).is_latest
    with pytest.raises(InvalidInput, match="no attempt") as refusal:
        posted(world, run.run_id, attempt_id=uuid4())
    assert refusal.value.field == "attempt_id"


def test_a_run_token_posts_to_its_own_run_only(world: World, project: ProjectRow) -> None:
    a_suite(world)
    mine, other = a_run(world, "mine"), a_run(world, "other")
    token = somebody(Role.RUN, project, run=mine.run_id)

    assert posted(world, mine.run_id, actor=token)
    with pytest.raises(Forbidden):
        posted(world, other.run_id, actor=token)


def test_a_viewer_and_a_stranger_post_nothing(world: World, project: ProjectRow) -> None:
    a_suite(world)
    run = a_run(world, "first")
    stranger = Actor(name="a stranger", role=Role.MAINTAINER, project=uuid4())

    with pytest.raises(Forbidden):
        posted(world, run.run_id, actor=somebody(Role.VIEWER, project))
    with pytest.raises(NotFound):
        posted(world, run.run_id, actor=stranger)


def test_the_first_post_makes_the_suite_when_it_says_what_its_metrics_are(
    world: World, project: ProjectRow
) -> None:
    run = a_run(world, "first")

    posted(world, run.run_id, {"a": 0.5}, suite="new", metric="my_err", metrics={"my_err": "lower"})

    with world.transaction() as session:
        made = suites.newest(session, project_id=project.id, key="new")
    assert made is not None
    assert [metric.name for metric in made.to_domain().metrics] == ["my_err"]
    with pytest.raises(InvalidInput, match=r'metrics=\{"other": "lower"\}'):
        posted(world, run.run_id, {"a": 0.5}, suite="newer", metric="other")


def test_numbers_come_back_as_they_were_posted(world: World, project: ProjectRow) -> None:
    a_suite(world)
    odd = {"easy": math.nan, "mid": math.inf, "hard": 1e-320, "new group": -math.inf}
    values = tuple(
        Value(metric=METRIC, group=group, value=value, n=2**62, stderr=0.25, bound=Bound.AT_LEAST)
        for group, value in odd.items()
    )
    post = PostedEvaluation(
        suite="heights",
        values=values,
        stated=Stated(n=7, overall={METRIC: math.nan}),
        loss=Loss(train=math.inf, val=0.1, parts={"b": 1.0, "a": -0.5}, weights={"a": 1e300, "b": 2.0}),
        info={"ttc": False, "deep": {"x": [1, 2.5, None]}},
    )

    evaluation_id = world.run(posting(a_run(world, "first").run_id, post)).evaluation_id

    with world.transaction() as session:
        stored = evaluations.load(session, project_id=project.id, ids=[evaluation_id])[evaluation_id]
    assert repr(sorted(stored.values, key=lambda v: v.group)) == repr(sorted(values, key=lambda v: v.group))
    assert repr(stored.stated) == repr(post.stated)
    assert stored.loss == post.loss
    assert row_of(world, project.id, evaluation_id).info == post.info
