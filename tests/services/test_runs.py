from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.db import Session, runs
from app.db.outbox import Topic
from app.db.run_lists import RunFilter
from app.db.runs import RunRow
from app.db.tables import leaderboard_row, outbox_message
from app.domain.access import Action, Actor, Role
from app.domain.promotion import EventKind
from app.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.services.runs import (
    EditRun,
    Status,
    archive_run,
    edit_run,
    list_runs,
    run_for,
)
from app.services.tokens import authenticate
from tests.services.world import (
    ADMIN,
    NOW,
    World,
    a_project,
    a_run,
    an_evaluation,
    crowning,
    somebody,
)


def editing(run_id: UUID, actor: Actor = ADMIN, **changes: Any) -> Callable[[Session], RunRow]:
    later = NOW + timedelta(hours=1)
    return lambda session: edit_run(session, actor, run_id=run_id, changes=EditRun(**changes), now=later)


def archiving(run_id: UUID, actor: Actor = ADMIN) -> Callable[[Session], RunRow]:
    return lambda session: archive_run(session, actor, run_id=run_id, now=NOW)


def listed(world: World, *, archived: bool | None = False) -> list[str]:
    where = RunFilter(archived=archived)
    with world.transaction() as session:
        page = list_runs(session, ADMIN, project_key="burgers", where=where, limit=10)
    return [row.key for row in page.items]


def board(world: World, column: Any) -> list[Any]:
    with world.transaction() as session:
        return list(session.execute(select(column).order_by(*column.table.primary_key)).scalars())


def test_an_edit_changes_what_it_names_and_leaves_one_trace(world: World) -> None:
    project = a_project(world)
    opened = a_run(world, "unet", notes="first", tags=("a",))
    reporter = somebody(Role.REPORTER, project)

    row = world.run(editing(opened.run_id, reporter, name=" U-Net ", status=Status.FINISHED, notes="second"))

    assert (row.name, row.status, row.notes, row.tags) == ("U-Net", "finished", "second", ["a"])
    assert row.updated_at == NOW + timedelta(hours=1)
    with world.transaction() as session:
        assert runs.by_id(session, opened.run_id) == row
    last = world.audit_rows(project.id)[-1]
    assert (last.action, last.subject, last.actor) == ("run.edit", "run unet", reporter.name)
    assert last.detail == {
        "name": {"before": "unet", "after": "U-Net"},
        "status": {"before": "running", "after": "finished"},
        "notes": "changed",
    }


def test_an_edit_that_changes_nothing_leaves_no_trace(world: World) -> None:
    project = a_project(world)
    opened = a_run(world, "unet", tags=("a",))
    before = world.audit(project.id)

    row = world.run(editing(opened.run_id, name="unet", tags=("a", "a"), status=Status.RUNNING))

    assert row.updated_at == NOW
    assert world.audit(project.id) == before


def test_two_edits_at_once_both_hold(world: World) -> None:
    a_project(world)
    opened = a_run(world, "unet")

    world.behind(editing(opened.run_id, name="new name"), editing(opened.run_id, tags=("new tag",)))

    with world.transaction() as session:
        row = runs.by_id(session, opened.run_id)
    assert row is not None
    assert (row.name, row.tags) == ("new name", ["new tag"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\0"}, "name"),
        ({"tags": ("",)}, "tags.0"),
        ({"notes": "\0"}, "notes"),
    ],
)
def test_an_edit_to_nonsense_is_refused(world: World, changes: dict[str, Any], field: str) -> None:
    a_project(world)
    opened = a_run(world, "unet")

    with pytest.raises(InvalidInput) as caught:
        world.run(editing(opened.run_id, **changes))

    assert caught.value.field == field


def test_who_may_do_what_to_a_run(world: World) -> None:
    mine, theirs = a_project(world, "mine"), a_project(world, "theirs")
    opened = a_run(world, "unet", project="mine")
    own = world.run(lambda session: authenticate(session, opened.run_token or "", now=NOW))
    assert own is not None

    for call in (editing(opened.run_id, own, name="x"), archiving(opened.run_id, own)):
        with pytest.raises(Forbidden):
            world.run(call)
    with pytest.raises(Forbidden):
        world.run(editing(opened.run_id, somebody(Role.VIEWER, mine), name="x"))
    with pytest.raises(Forbidden):
        world.run(archiving(opened.run_id, somebody(Role.REPORTER, mine)))
    stranger = somebody(Role.MAINTAINER, theirs)
    for run_id in (opened.run_id, uuid4()):
        with pytest.raises(NotFound, match=f"no run {run_id};"):
            world.run(archiving(run_id, stranger))


def test_a_run_token_finds_its_own_run_and_learns_of_no_other(world: World) -> None:
    a_project(world)
    opened, other = a_run(world, "unet"), a_run(world, "other")
    own = world.run(lambda session: authenticate(session, opened.run_token or "", now=NOW))
    assert own is not None

    def find(run_id: UUID) -> RunRow:
        return world.run(lambda session: run_for(session, own, run_id=run_id, action=Action.EVALUATION_POST))

    assert find(opened.run_id).key == "unet"
    with pytest.raises(Forbidden):
        find(other.run_id)
    with pytest.raises(NotFound):
        find(uuid4())


def test_archiving_takes_a_run_from_lists_and_boards_and_closes_its_tokens(world: World) -> None:
    project = a_project(world)
    an_evaluation(world, "unet", {"a": 0.1})
    opened = a_run(world, "unet")
    tokens = [action for action, _ in world.audit(project.id)].count("run.reattach") + 1

    world.run(archiving(opened.run_id))
    world.run(archiving(opened.run_id))

    assert set(board(world, leaderboard_row.c.eligible)) == {False}
    assert board(world, outbox_message.c.topic)[-1] == Topic.LEADERBOARD_CHANGED
    assert listed(world) == []
    assert listed(world, archived=True) == listed(world, archived=None) == ["unet"]
    assert world.run(lambda session: authenticate(session, opened.run_token or "", now=NOW)) is None
    assert world.audit(project.id)[-1] == ("run.archive", "run unet")
    assert world.audit(project.id).count(("run.archive", "run unet")) == 1
    assert world.audit_rows(project.id)[-1].detail == {"tokens_revoked": tokens}


def test_a_champion_is_never_archived(world: World) -> None:
    project = a_project(world)
    world.run(crowning(an_evaluation(world, "unet", {"a": 0.1})))
    opened = a_run(world, "unet")
    before = world.audit(project.id)

    with pytest.raises(Conflict, match="roll back") as caught:
        world.run(archiving(opened.run_id))

    assert caught.value.reasons == ("champion of suite val, stage final",)
    assert listed(world) == ["unet"]
    assert world.audit(project.id) == before


def test_a_run_that_is_being_crowned_is_not_archived_meanwhile(world: World) -> None:
    a_project(world)
    evaluation_id = an_evaluation(world, "unet", {"a": 0.1})
    opened = a_run(world, "unet")

    _, refused = world.behind(crowning(evaluation_id), archiving(opened.run_id))

    assert isinstance(refused, Conflict)


def test_a_run_that_is_being_rolled_back_to_is_not_archived_meanwhile(world: World) -> None:
    a_project(world)
    world.run(crowning(an_evaluation(world, "first", {"a": 0.1})))
    better = an_evaluation(world, "second", {"a": 0.05}, minutes=1)
    world.run(crowning(better, kind=EventKind.PROMOTE, expected_version=1))
    opened = a_run(world, "first")
    back = crowning(None, kind=EventKind.ROLLBACK, expected_version=2)

    _, refused = world.behind(back, archiving(opened.run_id))

    assert isinstance(refused, Conflict)


def test_nobody_rolls_back_to_a_run_that_is_being_archived(world: World) -> None:
    a_project(world)
    world.run(crowning(an_evaluation(world, "first", {"a": 0.1})))
    better = an_evaluation(world, "second", {"a": 0.05}, minutes=1)
    world.run(crowning(better, kind=EventKind.PROMOTE, expected_version=1))
    opened = a_run(world, "first")
    back = crowning(None, kind=EventKind.ROLLBACK, expected_version=2)

    archived, refused = world.behind(archiving(opened.run_id), back)

    assert archived.archived_at is not None
    assert isinstance(refused, Conflict)


def test_a_changed_recipe_reaches_the_leaderboards(world: World) -> None:
    a_project(world)
    an_evaluation(world, "unet", {"a": 0.1})

    opened = a_run(world, "unet", config={"lr": 2})

    with world.transaction() as session:
        row = runs.by_id(session, opened.run_id)
    assert row is not None
    assert set(board(world, leaderboard_row.c.recipe)) == {row.recipe}
