"""Runs: found, listed, edited, archived; opening one is a handshake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from app.db import Session, attempts, audit, baselines, evaluations, leaderboards, outbox, run_lists, tokens
from app.db import runs as db
from app.db.run_lists import CONFIG_PREFIX, SORT_COLUMNS, RunFilter, RunPage, RunSort
from app.db.runs import RunRow
from app.domain.access import Action, Actor, require
from app.domain.liveness import Status
from app.errors import Conflict, InvalidInput, NotFound
from app.services.announcements import leaderboard_changed
from app.services.documents import checked_name, checked_tags, checked_text, storable
from app.services.handshakes import OpenedRun, OpenRole, OpenRun, open_run
from app.services.projects import project_for

__all__ = [
    "EditRun",
    "OpenRole",
    "OpenRun",
    "OpenedRun",
    "Status",
    "archive_run",
    "edit_run",
    "list_runs",
    "open_run",
    "run_for",
    "run_sort",
]

_NOBODYS = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRun:
    """What to change; None leaves as it is."""

    name: str | None = None
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    status: Status | None = None


def edit_run(session: Session, actor: Actor, *, run_id: UUID, changes: EditRun, now: datetime) -> RunRow:
    """Change what people call the run and how it ended; editing nothing leaves no trace."""
    row = _locked(session, run_for(session, actor, run_id=run_id, action=Action.RUN_EDIT))
    wanted: dict[str, Any] = {}
    if changes.name is not None:
        wanted["name"] = checked_name(changes.name, field="name")
    if changes.tags is not None:
        wanted["tags"] = checked_tags(changes.tags, field="tags")
    if changes.notes is not None:
        wanted["notes"] = checked_text(changes.notes, field="notes")
    if changes.status is not None:
        wanted["status"] = changes.status.value
    before = asdict(row)
    changed = sorted(name for name, value in wanted.items() if before[name] != value)
    if not changed:
        return row
    edited = replace(row, **wanted, updated_at=now)
    db.update_run(session, edited)
    if changes.status is not None:
        attempts.set_status(
            session,
            project_id=row.project_id,
            run_id=row.id,
            number=row.newest_attempt,
            status=changes.status,
        )
    # Notes can be long, so that they changed is enough to know.
    detail = {
        name: {"before": before[name], "after": wanted[name]} if name != "notes" else "changed"
        for name in changed
    }
    _audit(session, actor, Action.RUN_EDIT, edited, now, detail)
    return edited


def request_stop(session: Session, actor: Actor, *, run_id: UUID, wanted: bool, now: datetime) -> RunRow:
    """Ask the run's training to end, or take that back; asking twice changes nothing."""
    row = _locked(session, run_for(session, actor, run_id=run_id, action=Action.RUN_EDIT))
    if row.stop_requested == wanted:
        return row
    changed = replace(row, stop_requested=wanted, updated_at=now)
    db.update_run(session, changed)
    _audit(session, actor, Action.RUN_EDIT, changed, now, {"stop_requested": wanted})
    return changed


def archive_run(session: Session, actor: Actor, *, run_id: UUID, now: datetime) -> RunRow:
    """Take a run from lists and leaderboards and close its tokens; archiving it twice changes nothing.

    Locks: the run, every pointer it was ever champion of.

    Raises:
        Conflict: One of its evaluations is a champion.
    """
    row = _locked(session, run_for(session, actor, run_id=run_id, action=Action.RUN_ARCHIVE))
    if row.archived_at is not None:
        return row
    # Nobody rolls back to this run's evaluations while we look.
    baselines.lock_seats_of(session, project_id=row.project_id, run_id=row.id)
    seats = db.championships(session, project_id=row.project_id, run_id=row.id)
    if seats:
        raise Conflict(
            f"run {row.key} is a champion; promote another, roll back, or invalidate it first",
            reasons=[f"champion of suite {suite}, stage {stage}" for suite, stage in seats],
        )
    archived = replace(row, archived_at=now, updated_at=now)
    db.update_run(session, archived)
    leaderboards.follow_run(session, project_id=row.project_id, run_id=row.id)
    revoked = tokens.revoke_of_run(session, project_id=row.project_id, run_id=row.id, now=now)
    boards = evaluations.boards_of_run(session, project_id=row.project_id, run_id=row.id)
    messages = [leaderboard_changed(suite_id, stage) for suite_id, stage in boards]
    outbox.write(session, project_id=row.project_id, messages=messages, now=now)
    _audit(session, actor, Action.RUN_ARCHIVE, archived, now, {"tokens_revoked": revoked})
    return archived


def run_for(session: Session, actor: Actor, *, run_id: UUID, action: Action) -> RunRow:
    """The run, not locked, if the actor may do `action` to it.

    Raises:
        NotFound: There is none, or it is another project's: the same words for both.
        Forbidden: The actor's role does not carry the action, or a run token is another run's.
    """
    row = db.by_id(session, run_id)
    try:
        require(actor, action, project=row.project_id if row else _NOBODYS, run=row.id if row else actor.run)
    except NotFound:
        row = None
    if row is None:
        raise NotFound(f"no run {run_id}; runs are listed under their project, look there for its id")
    return row


def list_runs(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    where: RunFilter,
    sort: str = "-created_at",
    group: str = "",
    limit: int,
    after: Sequence[Any] | None = None,
) -> RunPage:
    """One page of a project's runs.

    Args:
        sort: created_at, updated_at, name, key, `config.<key>`, or `last:<metric>` (first, min, max), with `-` in front
            for descending.
        group: Of that metric.
        after: `next_after` of the page before.
    """
    project = project_for(session, actor, key=project_key, action=Action.PROJECT_READ)
    storable(asdict(where), field="query")
    order = replace(run_sort(sort), group=checked_text(group, field="group", longest=256))
    return run_lists.page(session, project_id=project.id, where=where, sort=order, limit=limit, after=after)


def run_sort(text: str) -> RunSort:
    by = text.removeprefix("-")
    key = by.removeprefix(CONFIG_PREFIX) if by.startswith(CONFIG_PREFIX) else None
    sort = RunSort(by=checked_text(by, field="sort", longest=512), descending=text.startswith("-"))
    if by not in SORT_COLUMNS and not key and sort.metric is None:
        raise InvalidInput(
            f"sort by {', '.join(SORT_COLUMNS)}, config.<key>, or last:<metric> (first, min, max), "
            "with - in front for descending",
            field="sort",
        )
    return sort


def _locked(session: Session, row: RunRow) -> RunRow:
    locked = db.lock(session, project_id=row.project_id, run_id=row.id)
    if locked is None:
        raise NotFound(f"no run {row.id}; runs are listed under their project, look there for its id")
    return locked


def _audit(
    session: Session, actor: Actor, action: Action, row: RunRow, now: datetime, detail: Mapping[str, Any]
) -> None:
    audit.write(
        session,
        project_id=row.project_id,
        actor=actor.name,
        action=action,
        subject=f"run {row.key}",
        detail=detail,
        now=now,
    )
