from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import select

from app.db import Session, policies
from app.db.projects import ProjectRow
from app.db.tables import project, sink
from app.domain.access import Action, Actor, Role
from app.domain.policies import policy_from_toml, template
from app.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.services.projects import create_project, list_projects, project_for, show_project
from tests.services.world import ADMIN, NOW, World, a_project, somebody


def test_a_new_project_has_the_default_policy_a_log_sink_and_one_audit_row(world: World) -> None:
    made = a_project(world, "burgers")

    with world.transaction() as session:
        policy = policies.newest(session, made.id)
        sinks = session.execute(select(sink.c.name, sink.c.kind, sink.c.enabled)).all()
    assert policy == policy_from_toml(template("default"), version=1)
    assert [tuple(row) for row in sinks] == [("log", "log", True)]
    [row] = world.audit_rows(made.id)
    assert (row.action, row.subject, row.actor) == ("project.create", "project burgers", ADMIN.name)
    assert (row.policy_version, row.reason, row.at) == (1, None, NOW)


def test_a_taken_key_is_a_conflict_and_leaves_nothing(world: World) -> None:
    first = a_project(world, "burgers")

    with pytest.raises(Conflict, match="'burgers' exists"):
        a_project(world, "burgers")

    assert len(world.audit(first.id)) == 1


def test_of_two_makers_at_once_one_is_told_that_the_key_is_taken(world: World) -> None:
    def make(session: Session) -> ProjectRow:
        return create_project(session, ADMIN, key="race", name="", now=NOW, new_id=uuid4)

    made, refused = world.behind(make, make)

    assert made.key == "race"
    assert isinstance(refused, Conflict)
    with world.transaction() as session:
        assert session.execute(select(project.c.id)).scalars().all() == [made.id]


@pytest.mark.parametrize("key", ["", ".", "..", "a b", "a/b", "ä", "a\n", "a\0", "x" * 129])
def test_a_key_that_cannot_stand_in_an_address_is_refused(world: World, key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        a_project(world, key)

    assert caught.value.field == "key"


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "\ud800", "x" * 257])
def test_a_name_that_is_no_line_of_text_is_refused(world: World, name: str) -> None:
    with pytest.raises(InvalidInput) as caught, world.transaction() as session:
        create_project(session, ADMIN, key="burgers", name=name, now=NOW, new_id=uuid4)

    assert caught.value.field == "name"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REPORTER, Role.MAINTAINER])
def test_only_an_admin_makes_projects(world: World, role: Role) -> None:
    mine = a_project(world, "mine")

    with pytest.raises(Forbidden), world.transaction() as session:
        create_project(session, somebody(role, mine), key="new", name="new", now=NOW, new_id=uuid4)


def test_another_project_answers_as_one_that_does_not_exist(world: World) -> None:
    mine = a_project(world, "mine")
    a_project(world, "theirs")
    actor = somebody(Role.MAINTAINER, mine)

    def words(key: str) -> str:
        with pytest.raises(NotFound) as caught, world.transaction() as session:
            project_for(session, actor, key=key, action=Action.POLICY_CHANGE)
        return caught.value.message.replace(repr(key), "…")

    assert words("theirs") == words("absent") == words("\0")


def test_an_action_beyond_the_role_is_forbidden_in_ones_own_project(world: World) -> None:
    mine = a_project(world, "mine")

    with pytest.raises(Forbidden), world.transaction() as session:
        project_for(session, somebody(Role.VIEWER, mine), key="mine", action=Action.POLICY_CHANGE)


def test_a_run_token_reads_no_project(world: World) -> None:
    mine = a_project(world, "mine")
    actor = somebody(Role.RUN, mine, run=uuid4())

    with world.transaction() as session:
        with pytest.raises(Forbidden):
            show_project(session, actor, key="mine")
        with pytest.raises(Forbidden):
            list_projects(session, actor, limit=10)


def test_an_admin_sees_every_project_page_by_page_and_others_their_own(world: World) -> None:
    for key in ("b", "a", "C"):
        a_project(world, key)
    b = world.run(lambda session: project_for(session, ADMIN, key="b", action=Action.PROJECT_READ))

    def keys(actor: Actor, limit: int = 10, after: str | None = None) -> list[str]:
        with world.transaction() as session:
            return [row.key for row in list_projects(session, actor, limit=limit, after=after)]

    assert keys(ADMIN) == ["C", "a", "b"]
    assert keys(ADMIN, limit=2) == ["C", "a"]
    assert keys(ADMIN, limit=2, after="a") == ["b"]
    assert keys(somebody(Role.VIEWER, b)) == ["b"]


def test_a_fresh_project_counts_nothing(world: World) -> None:
    a_project(world, "burgers")

    with world.transaction() as session:
        row, counts = show_project(session, ADMIN, key="burgers")

    assert row.name == "burgers"
    assert (counts.policy_version, counts.runs, counts.evaluations, counts.open_alerts) == (1, 0, 0, 0)
