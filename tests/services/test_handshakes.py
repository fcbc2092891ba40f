from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from app.db import Session, policies, runs
from app.db.runs import RunRow
from app.db.tables import attempt, run, token
from app.domain.access import Actor, Role
from app.domain.recipes import recipe_digest
from app.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.services.runs import EditRun, OpenedRun, OpenRole, OpenRun, Status, archive_run, edit_run, open_run
from app.services.tokens import authenticate
from tests.services.world import ADMIN, NOW, World, a_project, somebody


def opening(
    actor: Actor,
    *,
    project: str = "burgers",
    key: str = "unet",
    attempt_id: UUID | None = None,
    role: OpenRole = OpenRole.TRAIN,
    **says: Any,
) -> Callable[[Session], OpenedRun]:
    request = OpenRun(attempt_id=attempt_id or uuid4(), role=role, **says)
    return lambda session: open_run(
        session, actor, project_key=project, run_key=key, request=request, now=NOW, new_id=uuid4
    )


def stored(world: World, opened: OpenedRun) -> RunRow:
    with world.transaction() as session:
        found = runs.by_id(session, opened.run_id)
    assert found is not None
    return found


def attempts(world: World) -> list[int]:
    with world.transaction() as session:
        return list(session.execute(select(attempt.c.number).order_by(attempt.c.number)).scalars())


def holder(world: World, opened: OpenedRun) -> Actor:
    """Whoever holds the run's own token."""
    assert opened.run_token is not None
    actor = world.run(lambda session: authenticate(session, opened.run_token or "", now=NOW))
    assert actor is not None
    return actor


def test_a_first_handshake_makes_the_run_its_first_attempt_and_a_token_for_it(world: World) -> None:
    project = a_project(world)
    reporter = somebody(Role.REPORTER, project)

    opened = world.run(
        opening(
            reporter,
            name="U-Net 64",
            config={"lr": 1e-3, "seed": 42},
            run_group="width",
            tags=("a", "b", "a"),
            notes="first\ntry",
            seed=42,
            split_seeded=True,
            git_commit="abc123",
            environment={"gpu": "H200"},
        )
    )

    row = stored(world, opened)
    assert (opened.project_id, opened.key, opened.attempt, opened.created) == (project.id, "unet", 1, True)
    assert (row.name, row.status, row.validity, row.newest_attempt) == ("U-Net 64", "running", "valid", 1)
    assert (row.config, row.tags, row.notes) == ({"lr": 1e-3, "seed": 42}, ["a", "b"], "first\ntry")
    assert (row.run_group, row.seed, row.split_seeded, row.git_commit) == ("width", 42, True, "abc123")
    with world.transaction() as session:
        volatile = policies.newest(session, project.id).volatile
    assert row.recipe == recipe_digest(row.config, "abc123", volatile)
    actor = holder(world, opened)
    assert (actor.role, actor.run, actor.project) == (Role.RUN, opened.run_id, project.id)
    [made] = world.audit_rows(project.id)[1:]
    assert (made.action, made.subject, made.actor) == ("run.open", "run unet", reporter.name)
    assert made.detail == {"attempt": 1, "run_token": (opened.run_token or "")[:12]}


def test_the_name_of_a_run_is_its_key_until_it_says_another(world: World) -> None:
    a_project(world)

    assert stored(world, world.run(opening(ADMIN, name=" "))).name == "unet"


def test_the_same_attempt_id_is_the_same_attempt_however_often_it_is_sent(world: World) -> None:
    reporter = somebody(Role.REPORTER, a_project(world))
    again = opening(reporter, attempt_id=uuid4())

    first, second = world.run(again), world.run(again)

    assert (second.run_id, second.attempt, second.created) == (first.run_id, 1, False)
    assert attempts(world) == [1]
    assert holder(world, first).run == holder(world, second).run == first.run_id


def test_the_same_attempt_id_sent_twice_at_once_is_one_attempt(world: World) -> None:
    reporter = somebody(Role.REPORTER, a_project(world))
    again = opening(reporter, attempt_id=uuid4())

    first, second = world.behind(again, again)

    assert [(first.attempt, first.created), (second.attempt, second.created)] == [(1, True), (1, False)]
    assert first.run_id == second.run_id
    assert attempts(world) == [1]


def test_of_two_strangers_who_open_one_key_at_once_the_second_is_refused(world: World) -> None:
    project = a_project(world)

    first, second = world.behind(
        opening(somebody(Role.REPORTER, project)), opening(somebody(Role.REPORTER, project))
    )

    assert first.created
    assert isinstance(second, Forbidden)
    assert attempts(world) == [1]


def test_attempts_are_numbered_without_gaps_whoever_comes_at_once(world: World) -> None:
    maintainer = somebody(Role.MAINTAINER, a_project(world))
    ids = [uuid4() for _ in range(5)]

    opened = world.together(*(opening(maintainer, attempt_id=ids[i % 5]) for i in range(10)))

    assert attempts(world) == [1, 2, 3, 4, 5]
    numbers = [{opened[i].attempt, opened[i + 5].attempt} for i in range(5)]
    assert sorted(number for pair in numbers for number in pair) == [1, 2, 3, 4, 5]
    assert sum(answer.created for answer in opened) == 1
    assert stored(world, opened[0]).newest_attempt == 5


def test_an_attempt_that_is_rolled_back_leaves_no_gap(world: World) -> None:
    maintainer = somebody(Role.MAINTAINER, a_project(world))
    world.run(opening(maintainer))

    with world.transaction() as session:
        lost = opening(maintainer)(session)
        session.rollback()

    assert (lost.attempt, world.run(opening(maintainer)).attempt) == (2, 2)


def test_a_resumed_run_is_running_again_and_says_what_changed(world: World) -> None:
    project = a_project(world)
    maintainer = somebody(Role.MAINTAINER, project)
    opened = world.run(opening(maintainer, config={"lr": 1e-3, "epochs": 10}, notes="kept"))
    world.run(
        lambda session: edit_run(
            session, maintainer, run_id=opened.run_id, changes=EditRun(status=Status.PREEMPTED), now=NOW
        )
    )

    resumed = world.run(opening(maintainer, config={"lr": 1e-3, "epochs": 20, "amp": True}))

    row = stored(world, resumed)
    assert (resumed.attempt, resumed.created, row.status, row.notes) == (2, False, "running", "kept")
    assert row.config == {"lr": 1e-3, "epochs": 20, "amp": True}
    assert row.recipe != recipe_digest({"lr": 1e-3, "epochs": 10}, None, ())
    last = world.audit_rows(project.id)[-1]
    assert last.action == "run.reattach"
    assert last.detail["attempt"] == 2
    assert last.detail["changed"] == ["status", "config.amp", "config.epochs"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REPORTER])
def test_a_stranger_may_not_resume_a_run_and_is_told_the_ways_out(world: World, role: Role) -> None:
    project = a_project(world)
    world.run(opening(ADMIN))

    with pytest.raises(Forbidden) as caught:
        world.run(opening(somebody(role, project)))

    if role is Role.REPORTER:
        assert "attach to it" in caught.value.message
        assert "another run key" in caught.value.message
    assert attempts(world) == [1]


def test_a_runs_own_token_resumes_it_and_gets_no_other_token(world: World) -> None:
    project = a_project(world)
    opened = world.run(opening(somebody(Role.REPORTER, project)))

    resumed = world.run(opening(holder(world, opened)))

    assert (resumed.attempt, resumed.run_token) == (2, None)
    with world.transaction() as session:
        assert session.execute(select(func.count()).select_from(token)).scalar_one() == 1


def test_a_runs_own_token_opens_no_other_run(world: World) -> None:
    project = a_project(world)
    opened = world.run(opening(somebody(Role.REPORTER, project)))
    world.run(opening(ADMIN, key="other", attempt_id=UUID(int=7)))
    actor = holder(world, opened)

    for key, attempt_id in (("new", uuid4()), ("other", uuid4()), ("other", UUID(int=7))):
        with pytest.raises(Forbidden):
            world.run(opening(actor, key=key, attempt_id=attempt_id))
    for key in ("new", "other"):
        with pytest.raises(Forbidden):
            world.run(opening(actor, key=key, role=OpenRole.ATTACH))


def test_the_newest_attempt_may_correct_what_the_run_says_of_itself(world: World) -> None:
    project = a_project(world)
    reporter = somebody(Role.REPORTER, project)
    mine = uuid4()
    opened = world.run(opening(reporter, attempt_id=mine, config={"lr": 1}))
    before = world.audit(project.id)

    world.run(opening(holder(world, opened), attempt_id=mine, config={"lr": 2}, git_commit="abc"))
    world.run(opening(holder(world, opened), attempt_id=mine, config={"lr": 2}, git_commit="abc"))

    row = stored(world, opened)
    assert (row.config, row.git_commit, row.newest_attempt) == ({"lr": 2}, "abc", 1)
    assert world.audit(project.id)[len(before) :] == [("run.reattach", "run unet")]
    assert world.audit_rows(project.id)[-1].detail == {"attempt": 1, "changed": ["git_commit", "config.lr"]}


def test_an_older_attempt_changes_nothing_any_more(world: World) -> None:
    maintainer = somebody(Role.MAINTAINER, a_project(world))
    older = uuid4()
    world.run(opening(maintainer, attempt_id=older, config={"lr": 1}))
    world.run(opening(maintainer, config={"lr": 2}))

    opened = world.run(opening(maintainer, attempt_id=older, config={"lr": 3}, name="late"))

    assert opened.attempt == 1
    assert (stored(world, opened).config, stored(world, opened).name) == ({"lr": 2}, "unet")


def test_what_a_handshake_does_not_say_stays(world: World) -> None:
    maintainer = somebody(Role.MAINTAINER, a_project(world))
    first = stored(
        world, world.run(opening(maintainer, config={"lr": 1}, tags=("a",), notes="n", seed=0, run_group="g"))
    )

    second = stored(world, world.run(opening(maintainer, config={}, tags=(), notes="")))

    kept = ("config", "tags", "notes", "seed", "run_group", "recipe")
    assert [getattr(second, name) for name in kept] == [getattr(first, name) for name in kept]


def test_attaching_makes_no_attempt_changes_nothing_and_leaves_no_trace(world: World) -> None:
    project = a_project(world)
    mine = uuid4()
    world.run(opening(ADMIN, attempt_id=mine))
    world.run(opening(ADMIN))
    before = (world.audit(project.id), stored(world, world.run(opening(ADMIN, role=OpenRole.ATTACH))))

    reporter = somebody(Role.REPORTER, project)
    stranger = world.run(opening(reporter, role=OpenRole.ATTACH, name="other", config={"lr": 9}))
    earlier = world.run(opening(reporter, role=OpenRole.ATTACH, attempt_id=mine))

    assert (stranger.attempt, stranger.run_token, stranger.created) == (2, None, False)
    assert earlier.attempt == 1
    assert (world.audit(project.id), stored(world, stranger)) == before


def test_there_is_nothing_to_attach_to_before_the_run_trains(world: World) -> None:
    project = a_project(world)

    with pytest.raises(NotFound, match="open it with role train first"):
        world.run(opening(somebody(Role.REPORTER, project), role=OpenRole.ATTACH))


def test_an_admins_handshake_makes_the_project_nobody_elses_does(world: World) -> None:
    other = a_project(world, "other")

    with pytest.raises(NotFound, match="ask an admin"):
        world.run(opening(somebody(Role.MAINTAINER, other), project="new"))
    with pytest.raises(NotFound, match="an admin token creates it"):
        world.run(opening(ADMIN, project="new", role=OpenRole.ATTACH))
    opened = world.run(opening(ADMIN, project="new"))

    assert opened.created
    assert world.audit(opened.project_id) == [("project.create", "project new"), ("run.open", "run unet")]


def test_two_admins_who_open_runs_of_a_new_project_at_once_share_it(world: World) -> None:
    first, second = world.behind(
        opening(ADMIN, project="new", key="a"), opening(ADMIN, project="new", key="b")
    )

    assert first.project_id == second.project_id
    assert (first.created, second.created) == (True, True)
    assert [action for action, _ in world.audit(first.project_id)].count("project.create") == 1


def test_the_same_key_in_two_projects_is_two_runs(world: World) -> None:
    a_project(world, "a")
    a_project(world, "b")

    opened = [world.run(opening(ADMIN, project=key)) for key in ("a", "b")]

    assert opened[0].run_id != opened[1].run_id


def test_an_archived_run_takes_no_new_attempt_but_answers_for_an_old_one(world: World) -> None:
    a_project(world)
    mine = uuid4()
    opened = world.run(opening(ADMIN, attempt_id=mine))
    world.run(lambda session: archive_run(session, ADMIN, run_id=opened.run_id, now=NOW))

    for role in OpenRole:
        with pytest.raises(Conflict, match="archived"):
            world.run(opening(ADMIN, role=role))
    again = world.run(opening(ADMIN, attempt_id=mine, name="late"))

    assert (again.attempt, again.run_token) == (1, None)
    assert stored(world, again).name == "unet"


def test_numbers_come_back_as_they_were_sent_and_the_recipe_with_them(world: World) -> None:
    project = a_project(world)
    maintainer = somebody(Role.MAINTAINER, project)
    mine = uuid4()
    config = {
        "nan": float("nan"),
        "infinity": float("-inf"),
        "large": 1e300,
        "odd": 1.2345678901234567e18,
        "whole": 1e16,
        "small": 5e-324,
        "zero": -0.0,
        "int": 2**63 - 1,
        "nested": {"list": [1.0, float("inf"), {"deep": None}]},
    }
    opened = world.run(opening(maintainer, attempt_id=mine, config=config))
    before = stored(world, opened)

    world.run(opening(maintainer, attempt_id=mine, config=config))

    assert before.config["nan"] == "NaN"
    assert before.config["infinity"] == "-Infinity"
    assert before.config["nested"] == {"list": [1.0, "Infinity", {"deep": None}]}
    for key in ("large", "odd", "whole", "small", "zero", "int"):
        assert before.config[key] == config[key]
    assert before.recipe == recipe_digest(before.config, None, ())
    assert stored(world, opened) == before
    assert "changed" not in world.audit_rows(project.id)[-1].detail


@pytest.mark.parametrize(
    ("says", "field"),
    [
        ({"config": {"a": {"b\0": 1}}}, "config.a"),
        ({"config": {"a": ["x", "\0"]}}, "config.a.1"),
        ({"config": {"a": "\ud800"}}, "config.a"),
        ({"config": {"a": 2**63}}, "config.a"),
        ({"config": {"a": {1, 2}}}, "config.a"),
        ({"environment": {"a": -(2**63) - 1}}, "environment.a"),
        ({"seed": 2**63}, "seed"),
        ({"name": "a\0"}, "name"),
        ({"notes": "a\0"}, "notes"),
        ({"notes": "x" * 65_537}, "notes"),
        ({"tags": ("a", "b\nc")}, "tags.1"),
        ({"tags": tuple(map(str, range(101)))}, "tags"),
        ({"run_group": "\udfff"}, "run_group"),
        ({"git_commit": "x" * 257}, "git_commit"),
    ],
)
def test_what_postgres_cannot_keep_is_refused_with_its_field(
    world: World, says: dict[str, Any], field: str
) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        world.run(opening(ADMIN, **says))

    assert caught.value.field == field


def test_a_config_that_is_too_deep_is_refused(world: World) -> None:
    a_project(world)
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}

    with pytest.raises(InvalidInput, match="64 levels"):
        world.run(opening(ADMIN, config=deep))


@pytest.mark.parametrize("key", ["", "a/b", "..", "x" * 129, "a\0"])
def test_a_run_key_that_cannot_stand_in_an_address_is_refused(world: World, key: str) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        world.run(opening(ADMIN, key=key))

    assert caught.value.field == "run_key"
    with world.transaction() as session:
        assert session.execute(select(func.count()).select_from(run)).scalar_one() == 0
