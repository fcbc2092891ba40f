"""Where a project's verdicts go, who said so, and how each of the receivers is doing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.db import Session, audit, deliveries, outbox, projects
from app.db import sinks as db
from app.db.deliveries import DeliveryRow
from app.db.outbox import Topic
from app.db.sinks import SinkRow, SinkState
from app.domain.access import Action, Actor
from app.domain.sinks import (
    SinkKind,
    WandbMode,
    WandbSettings,
    settings_from_document,
    settings_to_document,
)
from app.errors import Conflict, InvalidInput, NotFound, Problem
from app.services.announcements import leaderboard_changed, sink_tested
from app.services.documents import checked_key
from app.services.projects import project_for

MAX_SINKS = 20
_BEFORE_ALL_ELSE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSink:
    """A sink as somebody wants it; settings as `domain.sinks` reads them."""

    name: str
    kind: SinkKind
    enabled: bool
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSink:
    row: SinkRow
    state: SinkState


def list_sinks(session: Session, actor: Actor, *, project_key: str) -> list[KnownSink]:
    """By name."""
    project = project_for(session, actor, key=project_key, action=Action.SINK_READ)
    return _known(session, project.id)


def put_sinks(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    wanted: Sequence[WantedSink],
    wandb_base_urls: Collection[str],
    now: datetime,
) -> list[KnownSink]:
    """Put all the project's sinks in place of those of before; saying what holds already leaves no trace.

    A sink that becomes enabled starts from now. A sink that is disabled, removed or becomes of another kind is owed
    nothing any more. To a sink that is made, enabled or set otherwise, every leaderboard is owed once.

    Args:
        wandb_base_urls: The servers that may be given a W&B key.

    Raises:
        InvalidInput: Every problem of every sink, its field as a dotted path (`sinks.0.settings.project`).
    """
    project = project_for(session, actor, key=project_key, action=Action.SINK_CHANGE)
    after = _checked(wanted, wandb_base_urls)
    projects.lock(session, project.id)
    before = {row.name: _wanted(row) for row in db.of_project(session, project.id)}
    detail = {}
    for name in sorted(before.keys() | after.keys()):
        was, becomes = before.get(name), after.get(name)
        if was != becomes:
            moved = _change(session, project.id, was=was, becomes=becomes, now=now, by=actor.name)
            detail[name] = {"before": _shown(was), "after": _shown(becomes), **moved}
    if detail:
        audit.write(
            session,
            project_id=project.id,
            actor=actor.name,
            action=Action.SINK_CHANGE,
            subject="sinks",
            detail=detail,
            now=now,
        )
    return _known(session, project.id)


def test_sink(session: Session, actor: Actor, *, project_key: str, name: str, now: datetime) -> DeliveryRow:
    """Owe the sink one message that says that it is a test, before all else that it is owed; a pause is over.

    It is tried once. A test of before that has not arrived is owed no longer.

    Raises:
        NotFound: There is no such sink.
        Conflict: It is disabled.
    """
    project = project_for(session, actor, key=project_key, action=Action.SINK_TEST)
    projects.lock(session, project.id)
    row = next((each for each in db.of_project(session, project.id) if each.name == name), None)
    if row is None:
        raise NotFound(f"no sink {name!r} in this project; sinks are listed under it")
    if not row.enabled:
        raise Conflict(f"sink {name!r} is disabled; enable it first")
    topic = Topic.SINK_TESTED
    deliveries.discard_undelivered(
        session, project_id=project.id, sink=name, even_buried=True, topic=topic.value
    )
    db.end_pause(session, project_id=project.id, name=name)
    outbox.write(
        session,
        project_id=project.id,
        messages=[sink_tested(name, by=actor.name)],
        now=now,
        only_sink=name,
        available_at=_BEFORE_ALL_ELSE,
    )
    audit.write(
        session,
        project_id=project.id,
        actor=actor.name,
        action=Action.SINK_TEST,
        subject=f"sink {name}",
        detail={},
        now=now,
    )
    (delivery,) = deliveries.page(session, project_id=project.id, limit=1, sink=name, topic=topic.value)
    return delivery


def _change(
    session: Session,
    project_id: UUID,
    *,
    was: WantedSink | None,
    becomes: WantedSink | None,
    now: datetime,
    by: str,
) -> dict[str, int]:
    """Make, change or remove one sink; how many messages were dropped and written for it."""
    dropped = written = 0
    is_replaced = was is not None and (becomes is None or becomes.kind is not was.kind)
    stays_enabled = was is not None and was.enabled and becomes is not None and becomes.enabled
    if was is not None and (is_replaced or not stays_enabled):
        # Buried ones are kept for people, unless nobody could ever send them again.
        dropped = deliveries.discard_undelivered(
            session, project_id=project_id, sink=was.name, even_buried=is_replaced
        )
    if becomes is None:
        if was is not None:
            db.remove(session, project_id=project_id, name=was.name)
        return {"dropped": dropped, "written": written}
    db.store(
        session,
        project_id=project_id,
        name=becomes.name,
        kind=becomes.kind.value,
        enabled=becomes.enabled,
        settings=becomes.settings,
        now=now,
        by=by,
    )
    if becomes.enabled:
        boards = [leaderboard_changed(suite, stage) for suite, stage in db.boards(session, project_id)]
        outbox.write(session, project_id=project_id, messages=boards, now=now, only_sink=becomes.name)
        written = len(boards)
    return {"dropped": dropped, "written": written}


def _checked(wanted: Sequence[WantedSink], wandb_base_urls: Collection[str]) -> dict[str, WantedSink]:
    """By name, with every setting written out."""
    if len(wanted) > MAX_SINKS:
        raise InvalidInput(f"at most {MAX_SINKS} sinks, not {len(wanted)}", field="sinks")
    problems: list[Problem] = []
    checked: dict[str, WantedSink] = {}
    mirrors: dict[tuple[str, str | None, str], str] = {}
    for i, each in enumerate(wanted):
        checked_key(each.name, field=f"sinks.{i}.name")
        if each.name in checked:
            problems.append(
                Problem(field=f"sinks.{i}.name", message=f"two sinks are called {each.name!r}; rename one")
            )
        try:
            settings = settings_from_document(each.kind, each.settings, wandb_base_urls=wandb_base_urls)
        except InvalidInput as error:
            problems += [
                Problem(field=f"sinks.{i}.settings.{problem.field}", message=problem.message)
                for problem in error.problems
            ]
            continue
        if each.enabled and isinstance(settings, WandbSettings) and settings.mode is not WandbMode.DISABLED:
            target = (settings.base_url, settings.entity, settings.project)
            if (other := mirrors.setdefault(target, each.name)) != each.name:
                message = (
                    f"sink {other!r} mirrors to that W&B project already, and both would write the same runs"
                )
                problems.append(Problem(field=f"sinks.{i}.settings.project", message=message))
        checked[each.name] = WantedSink(
            name=each.name, kind=each.kind, enabled=each.enabled, settings=settings_to_document(settings)
        )
    if problems:
        first = problems[0]
        raise InvalidInput(f"{first.field}: {first.message}", field=first.field, problems=problems)
    return checked


def _wanted(row: SinkRow) -> WantedSink:
    return WantedSink(
        name=row.name, kind=SinkKind(row.kind), enabled=row.enabled, settings=dict(row.settings)
    )


def _shown(sink: WantedSink | None) -> dict[str, Any] | None:
    if sink is None:
        return None
    return {"kind": sink.kind.value, "enabled": sink.enabled, "settings": dict(sink.settings)}


def _known(session: Session, project_id: UUID) -> list[KnownSink]:
    states = db.states(session, project_id)
    return [
        KnownSink(row=row, state=states.get(row.name, SinkState()))
        for row in db.of_project(session, project_id)
    ]
