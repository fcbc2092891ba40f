"""Removing what has outlived its project's retention: now and then, one short transaction at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from app.db import SessionFactory, Timeouts, make_engine, session_factory
from app.services import purge

# Counting all of it may take a while, and holds nobody up.
_PATIENT = Timeouts(statement=600.0, transaction=3600.0)
_log = structlog.get_logger("truerun.worker")


@dataclass(slots=True)
class Tidier:
    """Goes through all projects, then rests.

    Args:
        every: How long it rests between two rounds.
        at_first: How long it rests before the first one.
    """

    sessions: SessionFactory
    every: timedelta
    at_first: timedelta = timedelta(0)
    _round: Iterator[str] | None = None
    _rests_until: float = field(init=False)

    def __post_init__(self) -> None:
        self._rests_until = time.monotonic() + self.at_first.total_seconds()

    def step(self) -> bool:
        """Do a little, if it is time; whether there may be more to do at once."""
        if self._round is None:
            if time.monotonic() < self._rests_until:
                return False
            self._round = one_round(self.sessions)
        said = next(self._round, None)
        if said is None:
            self._round = None
            self._rests_until = time.monotonic() + self.every.total_seconds()
            return False
        if said:
            _log.info("purged", what=said)
        return True


def one_round(sessions: SessionFactory) -> Iterator[str]:
    """Purge every project by its rules; says what went after each transaction, and "" after each project."""
    with sessions.begin() as session:
        projects = purge.every_project(session)
    for project_id in projects:
        for kind, remove in (
            ("delivered messages", purge.purge_messages),
            ("resolved alerts", purge.purge_alerts),
            ("progress evaluations", purge.purge_progress),
            ("histories", purge.purge_histories),
        ):
            while True:
                with sessions.begin() as session:
                    gone = remove(session, project_id, now=datetime.now(UTC))
                if not gone:
                    break
                yield f"{gone} {kind} of project {project_id}"
        yield from _archived_runs(sessions, project_id)
        yield ""


def purge_now(database_url: str) -> Iterator[str]:
    """One round, to its end; a line for each transaction."""
    engine = make_engine(database_url, pool_size=1)
    try:
        said = [line for line in one_round(session_factory(engine)) if line]
    finally:
        engine.dispose()
    yield from said or ["Nothing has outlived its project's retention."]


def would_purge(database_url: str) -> Iterator[str]:
    """What a round would remove, a line for each project that would lose anything."""
    engine = make_engine(database_url, pool_size=1, timeouts=_PATIENT)
    try:
        with session_factory(engine).begin() as session:
            found = purge.purgeable(session, now=datetime.now(UTC))
    finally:
        engine.dispose()
    going = [each for each in found if not each.is_nothing]
    for each in going:
        runs = f" ({', '.join(each.runs[:10])}{', …' if len(each.runs) > 10 else ''})" if each.runs else ""
        yield (
            f"{each.project}: {len(each.runs)} archived runs{runs} with {each.run_evaluations} evaluations, "
            f"{each.progress_evaluations} progress evaluations, {each.histories} histories, "
            f"{each.messages} delivered messages, {each.alerts} resolved alerts"
        )
    if not going:
        yield "Nothing has outlived its project's retention."


def _archived_runs(sessions: SessionFactory, project_id: UUID) -> Iterator[str]:
    after: tuple[datetime, UUID] | None = None
    while True:
        with sessions.begin() as session:
            page = purge.purge_runs(session, project_id, now=datetime.now(UTC), after=after)
        if page.evaluations or page.runs:
            yield f"{page.runs} archived runs and {page.evaluations} evaluations of project {project_id}"
        if page.next_after is None and not (page.runs or page.evaluations):
            return
        after = page.next_after
