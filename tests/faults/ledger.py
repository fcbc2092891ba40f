"""What clients sent and what was acknowledged, kept outside of the service; and whether the database agrees."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import text

from app.db import Session, make_engine, session_factory, stale
from app.db.assessments import load_verdict, newest_row
from app.domain.promotion import BaselineEvent, EventKind, champion_from
from app.services.evaluations import recompute

# Rows of an evaluation: all of them or none.
_PARTS = """
SELECT e.id::text,
       (SELECT count(*) FROM evaluation_value v WHERE v.project_id = e.project_id AND v.evaluation_id = e.id),
       (SELECT count(*) FROM assessment a WHERE a.project_id = e.project_id AND a.evaluation_id = e.id),
       (SELECT count(*) FROM check_result c WHERE c.project_id = e.project_id AND c.evaluation_id = e.id),
       (SELECT count(*) FROM leaderboard_row l WHERE l.project_id = e.project_id AND l.evaluation_id = e.id),
       (SELECT count(*) FROM outbox_message m WHERE m.project_id = e.project_id AND m.topic = 'evaluation.judged'
            AND m.payload ->> 'evaluation' = e.id::text)
FROM evaluation e
"""


@dataclass
class Ledger:
    """Shared by the clients; every method may be called from any of them."""

    sent: dict[str, Mapping[str, float]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    # (kind, evaluation) of events that were answered with 201, and how often.
    events: list[tuple[int, str, str]] = field(default_factory=list)
    marked: int = 0
    wrong: list[str] = field(default_factory=list)
    _asked_at: float = 0.0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def will_send(self, evaluation: str, groups: Mapping[str, float]) -> None:
        with self._changed:
            self.sent[evaluation] = groups

    def was_acknowledged(self, evaluation: str, *, asked_at: float = 0.0) -> None:
        """Args:
        asked_at: `time.monotonic()` when the request left that was answered.
        """
        with self._changed:
            self.acknowledged.add(evaluation)
            self._asked_at = max(self._asked_at, asked_at)
            self._changed.notify_all()

    def was_moved(self, version: int, kind: str, evaluation: str) -> None:
        with self._changed:
            self.events.append((version, kind, evaluation))

    def was_marked(self) -> None:
        with self._changed:
            self.marked += 1

    def is_wrong(self, what: str) -> None:
        with self._changed:
            self.wrong.append(what)
            self._changed.notify_all()

    def wait_for(self, more: int, *, seconds: float = 120.0) -> None:
        """Until so many posts more have been acknowledged, or something is wrong."""
        with self._changed:
            wanted = len(self.acknowledged) + more
            came = self._changed.wait_for(
                lambda: len(self.acknowledged) >= wanted or bool(self.wrong), timeout=seconds
            )
        if not came:
            self.is_wrong(f"no {more} posts more were acknowledged within {seconds} s")

    def wait_for_answer(self, *, asked_after: float, seconds: float = 120.0) -> None:
        """Until a post was acknowledged that was sent after a moment, or something is wrong."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._asked_at > asked_after or bool(self.wrong), timeout=seconds
            )
        if not came:
            self.is_wrong(f"nothing was acknowledged within {seconds} s of a kill")


def disagreements(ledger: Ledger, database_url: str) -> list[str]:
    """Every way in which the database and the ledger differ, or the database with itself."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        return [
            *ledger.wrong,
            *_about_posts(ledger, connection),
            *_about_champions(ledger, connection),
        ]


def _about_posts(ledger: Ledger, connection: psycopg.Connection[Any]) -> list[str]:
    parts = {str(row[0]): row[1:] for row in connection.execute(_PARTS)}
    found = [f"acknowledged and lost: {each}" for each in sorted(ledger.acknowledged - parts.keys())]
    found += [f"nobody sent {each}" for each in sorted(parts.keys() - ledger.sent.keys())]
    for evaluation, (values, assessments, checks, rows, messages) in sorted(parts.items()):
        groups = ledger.sent.get(evaluation, {})
        if values != len(groups) or not assessments or not checks or not rows or messages != assessments:
            found.append(f"in pieces: {evaluation} {(values, assessments, checks, rows, messages)}")
    for evaluation, group, value in connection.execute(
        "SELECT evaluation_id::text, group_name, value FROM evaluation_value"
    ):
        if ledger.sent.get(evaluation, {}).get(group) != value:
            found.append(f"other content: {evaluation} {group} {value}")
    return found


def _about_champions(ledger: Ledger, connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute(
        "SELECT version, kind, evaluation_id::text, to_version FROM baseline_event ORDER BY version"
    ).fetchall()
    events = [
        BaselineEvent(version=version, kind=EventKind(kind), evaluation=evaluation, to_version=to_version)
        for version, kind, evaluation, to_version in rows
    ]
    invalid = {
        str(row[0])
        for row in connection.execute(
            "SELECT e.id::text FROM evaluation e JOIN run r ON r.project_id = e.project_id AND r.id = e.run_id "
            "WHERE 'invalid' IN (e.validity, r.validity)"
        )
    }
    pointers = connection.execute("SELECT version, evaluation_id::text FROM baseline").fetchall()
    found = []
    if [event.version for event in events] != list(range(1, len(events) + 1)):
        found.append(f"versions with gaps: {[event.version for event in events]}")
    if len(pointers) != 1 or pointers[0] != (len(events), events[-1].evaluation if events else None):
        found.append(f"the pointer {pointers} is not where the last event of {len(events)} put it")
    champion, _ = champion_from(events, ())
    if champion in invalid:
        found.append(f"champion {champion} is invalid")
    if pointers and champion != pointers[0][1]:
        found.append(f"the events make {champion} champion, the pointer {pointers[0][1]}")
    stored = {(event.version, event.kind.value, event.evaluation) for event in events}
    found += [f"acknowledged and not in the events: {each}" for each in ledger.events if each not in stored]
    if len(set(ledger.events)) != len(ledger.events):
        found.append("an event was acknowledged twice")
    return found


def wrongly_judged(database_url: str, *, at_most: int = 200) -> list[str]:
    """Newest verdicts that are stale, or that their recorded input does not give."""
    engine = make_engine(database_url)
    try:
        with session_factory(engine).begin() as session:
            found = [f"still stale: {row.evaluation_id}" for row in stale.find(session, limit=at_most)]
            return found + _not_recomputed(session, at_most)
    finally:
        engine.dispose()


def _not_recomputed(session: Session, at_most: int) -> list[str]:
    found = []
    rows = session.execute(
        text("SELECT project_id, id FROM evaluation ORDER BY id LIMIT :most"), {"most": at_most}
    )
    for project_id, evaluation_id in rows.all():
        row = newest_row(session, project_id=project_id, evaluation_id=evaluation_id)
        if row is None:
            found.append(f"never judged: {evaluation_id}")
            continue
        verdict = load_verdict(session, project_id=project_id, evaluation_id=evaluation_id, number=row.number)
        if recompute(session, row) != verdict:
            found.append(f"its input gives another verdict: {evaluation_id}")
    return found
