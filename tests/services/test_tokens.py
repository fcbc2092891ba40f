from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from app.db import Session
from app.db.tables import token
from app.db.tokens import TokenRow
from app.domain.access import Actor, Role
from app.errors import Forbidden, InvalidInput, NotFound
from app.services.tokens import authenticate, create_token, ensure_local_admin, list_tokens, revoke_token
from tests.services.world import ADMIN, NOW, World, a_project, a_run, somebody


def a_token(
    world: World,
    actor: Actor = ADMIN,
    *,
    project: str | None = "burgers",
    role: Role = Role.REPORTER,
    label: str = "ana",
    expires_at: datetime | None = None,
    run: UUID | None = None,
) -> tuple[TokenRow, str]:
    return world.run(
        lambda session: create_token(
            session,
            actor,
            project=project,
            role=role,
            label=label,
            expires_at=expires_at,
            run=run,
            now=NOW,
            new_id=uuid4,
        )
    )


def who(world: World, secret: str, now: datetime = NOW) -> Actor | None:
    return world.run(lambda session: authenticate(session, secret, now=now))


def test_a_secret_opens_what_it_was_made_for(world: World) -> None:
    project = a_project(world)

    row, secret = a_token(world, role=Role.REPORTER, label="ana")

    assert re.fullmatch(r"trn_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", secret)
    assert row.prefix == secret[:12]
    assert who(world, secret) == Actor(
        name=f"ana (token {row.prefix})", role=Role.REPORTER, token=row.id, project=project.id, run=None
    )


def test_the_database_holds_the_digest_and_never_the_secret(world: World) -> None:
    a_project(world)

    row, secret = a_token(world)

    with world.transaction() as session:
        assert (
            session.execute(select(token.c.digest)).scalar_one() == hashlib.sha256(secret.encode()).digest()
        )
        dump = session.execute(
            text("SELECT token::text FROM token UNION ALL SELECT audit_event::text FROM audit_event")
        )
        everything = "\n".join(dump.scalars())
    assert row.prefix in everything
    assert secret[13:] not in everything


def test_unknown_expired_and_revoked_secrets_answer_alike(world: World) -> None:
    a_project(world)
    _, expiring = a_token(world, expires_at=NOW + timedelta(hours=1))
    row, revoked = a_token(world)
    world.run(lambda session: revoke_token(session, ADMIN, token_id=row.id, now=NOW))

    assert who(world, expiring) is not None
    assert who(world, expiring, NOW + timedelta(hours=1)) is None
    assert who(world, revoked) is None
    assert [who(world, secret) for secret in ("", "trn_aaaaaaaa_b", "ä", "\ud800", "\0")] == [None] * 5


def test_use_is_noted_at_most_once_a_minute(world: World) -> None:
    a_project(world)
    _, secret = a_token(world)

    def last_use() -> datetime | None:
        with world.transaction() as session:
            used_at: datetime | None = session.execute(select(token.c.last_used_at)).scalar_one()
        return used_at

    seen = [last_use()]
    for seconds in (0, 59, 60, 61):
        who(world, secret, NOW + timedelta(seconds=seconds))
        seen.append(last_use())

    minute = NOW + timedelta(minutes=1)
    assert seen == [None, NOW, NOW, minute, minute]


def test_a_request_that_has_not_committed_holds_up_no_other_of_the_same_token(world: World) -> None:
    a_project(world)
    _, secret = a_token(world)

    with world.transaction() as first, world.transaction() as second:
        second.execute(text("SET LOCAL lock_timeout = '1s'"))
        answers = [authenticate(session, secret, now=NOW) for session in (first, second)]

    assert answers[0] == answers[1] is not None


def test_a_maintainer_makes_tokens_of_its_project_only(world: World) -> None:
    mine = a_project(world, "mine")
    a_project(world, "theirs")
    maintainer = somebody(Role.MAINTAINER, mine)

    row, _ = a_token(world, maintainer, project="mine", role=Role.VIEWER, label="grafana")

    assert (row.project_id, row.role, row.created_by) == (mine.id, "viewer", maintainer.name)
    assert world.audit(mine.id)[-1] == ("token.create", f"token {row.prefix}")
    with pytest.raises(NotFound):
        a_token(world, maintainer, project="theirs")
    with pytest.raises(Forbidden):
        a_token(world, maintainer, project=None, role=Role.ADMIN)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REPORTER, Role.RUN])
def test_nobody_below_maintainer_makes_tokens(world: World, role: Role) -> None:
    mine = a_project(world, "mine")
    actor = somebody(
        role, mine, run=a_run(world, "unet", project="mine").run_id if role is Role.RUN else None
    )

    with pytest.raises(Forbidden):
        a_token(world, actor, project="mine", role=Role.VIEWER)


@pytest.mark.parametrize(
    ("project", "role", "run", "field"),
    [
        pytest.param(None, Role.REPORTER, None, "project", id="a reporter belongs to a project"),
        pytest.param("burgers", Role.ADMIN, None, "project", id="an admin belongs to none"),
        pytest.param("burgers", Role.RUN, None, "run", id="a run token names its run"),
        pytest.param("burgers", Role.REPORTER, UUID(int=1), "run", id="no other names one"),
        pytest.param("burgers", Role.RUN, UUID(int=1), "run", id="the run exists"),
    ],
)
def test_a_token_without_a_sound_scope_is_refused(
    world: World, project: str | None, role: Role, run: UUID | None, field: str
) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        a_token(world, project=project, role=role, run=run)

    assert caught.value.field == field


def test_a_token_for_a_run_of_another_project_is_refused(world: World) -> None:
    a_project(world, "mine")
    a_project(world, "theirs")
    theirs = a_run(world, "unet", project="theirs").run_id

    with pytest.raises(InvalidInput) as caught:
        a_token(world, project="mine", role=Role.RUN, run=theirs)

    assert caught.value.field == "run"


@pytest.mark.parametrize("expires_at", [NOW, NOW - timedelta(days=1), NOW.replace(tzinfo=None, year=2030)])
def test_an_expiry_lies_ahead_and_says_its_offset(world: World, expires_at: datetime) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        a_token(world, expires_at=expires_at)

    assert caught.value.field == "expires_at"


def test_revoking_twice_leaves_one_trace(world: World) -> None:
    project = a_project(world)
    row, _ = a_token(world)

    def revoke(session: Session) -> TokenRow:
        return revoke_token(session, ADMIN, token_id=row.id, now=NOW)

    world.behind(revoke, revoke)

    assert world.audit(project.id).count(("token.revoke", f"token {row.prefix}")) == 1


def test_a_token_of_another_project_is_not_there_to_be_revoked(world: World) -> None:
    mine, theirs = a_project(world, "mine"), a_project(world, "theirs")
    row, secret = a_token(world, project="theirs")
    maintainer = somebody(Role.MAINTAINER, mine)

    for token_id in (row.id, uuid4()):
        with pytest.raises(NotFound), world.transaction() as session:
            revoke_token(session, maintainer, token_id=token_id, now=NOW)

    assert who(world, secret) is not None
    assert ("token.revoke", f"token {row.prefix}") not in world.audit(theirs.id)


def test_tokens_are_listed_newest_first_and_never_with_their_digest(world: World) -> None:
    a_project(world)
    labels = ["a", "b", "c"]
    for label in labels:
        a_token(world, label=label)
    a_token(world, project=None, role=Role.ADMIN, label="root")

    def page(project: str | None, limit: int, last: TokenRow | None = None) -> list[TokenRow]:
        after = None if last is None else (last.created_at, last.id)
        return world.run(
            lambda session: list_tokens(session, ADMIN, project=project, limit=limit, after=after)
        )

    first = page("burgers", 2)
    rest = page("burgers", 2, first[-1])
    assert sorted(row.label for row in first + rest) == labels
    assert [row.label for row in page(None, 10)] == ["root"]
    assert not hasattr(first[0], "digest")


def test_the_local_admin_gets_a_fresh_secret_each_time(world: World) -> None:
    first = world.run(lambda session: ensure_local_admin(session, now=NOW, new_id=uuid4))
    second = world.run(lambda session: ensure_local_admin(session, now=NOW, new_id=uuid4))

    assert first != second
    assert [actor and actor.role for actor in (who(world, first), who(world, second))] == [Role.ADMIN] * 2

    third = world.run(lambda session: ensure_local_admin(session, now=NOW, new_id=uuid4, reissue=True))

    assert [who(world, secret) is not None for secret in (first, second, third)] == [False, False, True]
    assert [action for action, _ in world.audit()] == ["token.create"] * 2 + ["token.revoke"] * 2 + [
        "token.create"
    ]
    assert {row.actor for row in world.audit_rows()} == {"server"}


def test_reissuing_the_local_admin_leaves_other_admins_alone(world: World) -> None:
    _, other = a_token(world, project=None, role=Role.ADMIN, label="ops")

    world.run(lambda session: ensure_local_admin(session, now=NOW, new_id=uuid4, reissue=True))

    assert who(world, other) is not None
