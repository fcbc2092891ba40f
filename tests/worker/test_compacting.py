from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.orm import sessionmaker

from app.db import Session, SessionFactory, locks, make_engine
from app.db.series import SeriesFilter
from app.domain.access import Actor, Role
from app.services.histories import Curve, curves_of
from app.worker.compacting import Compactor
from app.worker.tidying import one_round
from tests.api.calling import Caller, an_admin
from tests.api.recording import a_block, opened, others, points, send
from tests.pictures import a_png

STREAM = UUID(int=1)


@pytest.fixture
def admin(database_url: str) -> Iterator[Caller]:
    with an_admin(database_url) as admin:
        admin.post("/projects", {"key": "burgers"})
        yield admin


@pytest.fixture
def sessions(database_url: str) -> Iterator[SessionFactory]:
    engine = make_engine(database_url)
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def compact(sessions: SessionFactory) -> None:
    compactor = Compactor(sessions=sessions, idle=timedelta(seconds=-10))
    while compactor.step():
        pass


def blocks(sql: psycopg.Connection[Any]) -> list[tuple[int, int, int]]:
    """(first, last, count) of each block."""
    return sql.execute("SELECT first_idx, last_idx, count FROM record_block ORDER BY first_idx").fetchall()


def curves(admin: Caller, run_id: str) -> Any:
    return admin.get(f"/runs/{run_id}/history", query={"metric": ["loss", "val"], "max_points": "all"})[
        "series"
    ]


def test_small_blocks_of_the_same_series_become_one_and_every_point_stays(
    admin: Caller, sessions: SessionFactory, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    for i in range(0, 40, 4):
        batch = points(i, loss=[float(i), "NaN", "Infinity"])
        batch["blocks"].append(a_block(i + 3, {"val": [i / 3]}, split="val"))
        send(admin, run_id, {**batch, "count": 4})
    before = curves(admin, run_id)

    compact(sessions)

    assert blocks(sql) == [(0, 38, 30), (3, 39, 10)]
    assert curves(admin, run_id) == before
    assert sql.execute("SELECT count(*) FROM metric_chunk").fetchone() == (2,)
    send(admin, run_id, points(40, loss=[1.0]))
    compact(sessions)
    assert [count for *_, count in blocks(sql)] == [31, 10]


def test_what_is_still_being_written_is_left_alone(
    admin: Caller, sessions: SessionFactory, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    for i in range(3):
        send(admin, run_id, points(i, loss=[1.0]))

    compactor = Compactor(sessions=sessions)
    while compactor.step():
        pass

    assert len(blocks(sql)) == 3


def test_merging_beside_writers_readers_and_another_worker_loses_and_doubles_nothing(
    admin: Caller, sessions: SessionFactory, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    stopped = threading.Event()
    failed: list[BaseException] = []

    def merge() -> None:
        try:
            while not stopped.is_set():
                compact(sessions)
        except BaseException as error:  # noqa: BLE001  shown at the end
            failed.append(error)

    workers = [threading.Thread(target=merge) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for i in range(60):
            send(admin, run_id, points(3 * i, loss=[float(3 * i + j) for j in range(3)]))
            found = curves(admin, run_id)[0]["values"]
            assert found == [float(j) for j in range(3 * i + 3)]
    finally:
        stopped.set()
        for worker in workers:
            worker.join(30)

    assert failed == []
    compact(sessions)
    assert [count for *_, count in blocks(sql)] == [180]
    assert sql.execute("SELECT next_idx, stored FROM stream").fetchone() == (180, 180)


def test_what_another_worker_is_at_is_looked_through_later(
    admin: Caller, sessions: SessionFactory, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    for i in range(3):
        send(admin, run_id, points(i, loss=[float(i)]))
    (project_id,) = sql.execute("SELECT project_id FROM stream").fetchone() or (None,)

    with sessions.begin() as other:
        assert locks.try_own(other, locks.key_of("compaction", project_id, STREAM))
        compact(sessions)
        left = len(blocks(sql))
    compact(sessions)

    assert left == 3
    assert [count for *_, count in blocks(sql)] == [3]


def test_the_view_for_other_tools_tells_every_point_and_which_count(
    admin: Caller, sql: psycopg.Connection[Any]
) -> None:
    run_id, first = opened(admin)
    odd = points(loss=[5.0, 4.0, 0.001])
    odd["blocks"][0]["steps"] = [0, 7, 9]
    send(admin, run_id, {**odd, "attempt_id": first})
    _, second = opened(admin, resume_step=8)
    again = points(loss=[3.0])
    again["blocks"][0]["steps"] = [8]
    send(admin, run_id, {**again, "attempt_id": second}, stream=uuid4())

    rows = sql.execute(
        "SELECT project, run, attempt, metric, group_name, rank, step, value, counts FROM metric_point "
        "ORDER BY attempt, step"
    ).fetchall()

    same = ("burgers", "run")
    assert rows == [
        (*same, 1, "loss", None, 0, 0, 5.0, True),
        (*same, 1, "loss", None, 0, 7, 4.0, True),
        (*same, 1, "loss", None, 0, 9, 0.001, False),
        (*same, 2, "loss", None, 0, 8, 3.0, True),
    ]


def test_an_ended_runs_points_go_by_its_projects_rule_and_its_summaries_stay(
    admin: Caller, sessions: SessionFactory, sql: psycopg.Connection[Any]
) -> None:
    for key in ("ended", "running", "young"):
        run_id, _ = opened(admin, key)
        stream = uuid4()
        send(admin, run_id, points(loss=[1.0, 2.0]), stream=stream)
        image = {"type": "image", "name": "field", "data": base64.b64encode(a_png()).decode()}
        send(admin, run_id, others(2, image), stream=stream)
        if key != "running":
            send(admin, run_id, others(3, {"type": "finish", "status": "finished"}), stream=stream)
        if key != "young":
            sql.execute(
                "UPDATE stream SET last_seen_at = now() - interval '11 days' WHERE run_id = %s", (run_id,)
            )
            sql.execute("UPDATE run SET updated_at = now() - interval '11 days' WHERE id = %s", (run_id,))
    admin.put("/projects/burgers/retention", {"history_days": 10})

    said = [line for line in one_round(sessions) if line]

    assert len(said) == 1
    assert "1 histories" in said[0]
    for table in ("record_block", "run_image"):
        left = sql.execute(f"SELECT r.key FROM {table} t JOIN run r ON r.id = t.run_id ORDER BY 1").fetchall()
        assert left == [("running",), ("young",)], table
    ended = admin.get("/projects/burgers/runs", query={"key": "ended", "metric": "loss"})["items"][0]
    assert ended["metrics"]["loss"]["last"] == 2.0
    opened(admin, "ended", resume_step=1)
    again = admin.get("/projects/burgers/runs", query={"key": "ended", "metric": "loss"})["items"][0]
    assert again["metrics"]["loss"]["last"] == 2.0
    assert [line for line in one_round(sessions) if line] == []


class Interrupted(Session):
    """A session in which something happens elsewhere, once, before a statement by the driver alone."""

    meanwhile: Callable[[], None]
    before: int
    asked = 0

    def connection(self, *args: Any, **options: Any) -> Any:
        self.asked += 1
        if self.asked == self.before:
            self.meanwhile()
        return super().connection(*args, **options)


# Which blocks there are is asked first.
@pytest.mark.parametrize("statement", [pytest.param(2, id="values"), pytest.param(3, id="times")])
def test_a_chart_that_is_read_while_blocks_are_merged_is_the_same(
    admin: Caller, sessions: SessionFactory, sql: psycopg.Connection[Any], statement: int
) -> None:
    run_id, _ = opened(admin)
    for i in range(0, 30, 3):
        send(admin, run_id, points(i, loss=[float(i), 0.5, -float(i)]))
    somebody = Actor(name="somebody", role=Role.ADMIN)

    def read(session: Session) -> Curve:
        _, found = curves_of(
            session, somebody, run_id=UUID(run_id), where=SeriesFilter(names=("loss",)), from_step=None,
            to_step=None, attempt=None, most=12,
        )  # fmt: skip
        return found[0]

    with sessions() as session:
        before = read(session)
    with Interrupted(sessions.kw["bind"]) as session:
        session.meanwhile, session.before = lambda: compact(sessions), statement
        during = read(session)

    assert len(blocks(sql)) == 1
    assert during.is_thinned
    for column in ("steps", "times", "values", "attempts"):
        assert getattr(during, column).tolist() == getattr(before, column).tolist()
