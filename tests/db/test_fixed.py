"""Statements that go past SQLAlchemy: same values, same errors, same end of a connection."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Integer, any_, bindparam, func, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.db import Session, Timeouts, make_engine, session_factory
from app.db.audit import SERVER
from app.db.faults import Fault, passing_fault
from app.db.fixed import Fixed
from app.db.tables import audit_event, project

_MORE_THAN = Fixed(
    select(
        func.unnest(bindparam("numbers", type_=ARRAY(Integer))).label("number"), literal("kept").label("word")
    )
)
_WRITE = Fixed(
    insert(audit_event).inline(), columns=["project_id", "at", "actor", "action", "subject", "detail"]
)
_READ = Fixed(select(audit_event).where(audit_event.c.subject == bindparam("subject")))
_PROJECTS = Fixed(
    select(project.c.key).where(project.c.id == any_(bindparam("ids", type_=ARRAY(project.c.id.type))))
)
_NEW_PROJECT = Fixed(insert(project), columns=["id", "key", "name", "created_at", "created_by"])
_END = Fixed(select(func.pg_terminate_backend(func.pg_backend_pid())))
_SLEEP = Fixed(select(func.pg_sleep(bindparam("seconds"))))
_NOW = datetime(2026, 11, 20, 12, 0, 30, 125, tzinfo=UTC)


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = make_engine(database_url, pool_size=1, timeouts=Timeouts(statement=0.2))
    with session_factory(engine)() as session:
        yield session
    engine.dispose()


def written(session: Session, subject: str, detail: object) -> int:
    return _WRITE.run(
        session, project_id=SERVER, at=_NOW, actor="a", action="b", subject=subject, detail=detail
    )


def test_constants_stay_and_what_is_given_differs_from_call_to_call(session: Session) -> None:
    some = _MORE_THAN.all(session, numbers=[1, 2])
    none = _MORE_THAN.first(session, numbers=[])

    assert some == [{"number": 1, "word": "kept"}, {"number": 2, "word": "kept"}]
    assert none is None


def test_values_come_back_as_sqlalchemy_gives_them(session: Session) -> None:
    touched = written(session, "x", {"very large": 1e300, "list": [1, None]})

    raw = _READ.first(session, subject="x")
    usual = session.execute(select(audit_event)).mappings().one()
    assert touched == 1
    assert raw == dict(usual)
    assert raw is not None
    assert (raw["project_id"], raw["at"], raw["detail"]["very large"]) == (UUID(int=0), _NOW, 1e300)


def test_json_that_postgres_cannot_hold_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        written(session, "x", {"loss": float("nan")})


def test_an_error_is_what_sqlalchemy_makes_of_it_and_shows_no_values(session: Session) -> None:
    given = {"key": "secret-key", "name": "", "created_at": _NOW, "created_by": "a"}
    _NEW_PROJECT.run(session, id=uuid4(), **given)

    with pytest.raises(IntegrityError) as raised:
        _NEW_PROJECT.run(session, id=uuid4(), **given)

    assert "uq_project_key" in str(raised.value)
    assert "created_by" not in str(raised.value)


def test_what_takes_too_long_passes_by_itself(session: Session) -> None:
    with pytest.raises(DBAPIError) as raised:
        _SLEEP.run(session, seconds=30)

    assert passing_fault(raised.value) is Fault.SLOW


def test_a_lost_connection_is_given_up_and_the_next_session_has_a_good_one(session: Session) -> None:
    with pytest.raises(DBAPIError) as raised:
        _END.first(session)

    session.rollback()
    assert passing_fault(raised.value) is Fault.BROKEN
    assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_any_of_an_array_finds_as_many_as_there_are(session: Session) -> None:
    ids = sorted(uuid4() for _ in range(3))
    for i, project_id in enumerate(ids):
        _NEW_PROJECT.run(session, id=project_id, key=f"p{i}", name="", created_at=_NOW, created_by="a")

    assert {row["key"] for row in _PROJECTS.all(session, ids=ids[:2])} == {"p0", "p1"}
    assert _PROJECTS.all(session, ids=[]) == []
