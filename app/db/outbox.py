"""The outbox: deliveries that are owed, in the transaction that caused them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Insert,
    Integer,
    Interval,
    Text,
    Uuid,
    all_,
    any_,
    bindparam,
    cast,
    column,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from app.db.engine import dump_strictly
from app.db.fixed import Fixed
from app.db.tables import outbox_message, sink


class Topic(StrEnum):
    EVALUATION_JUDGED = "evaluation.judged"
    BASELINE_MOVED = "baseline.moved"
    ALERT_CHANGED = "alert.changed"
    RUN_VALIDITY = "run.validity"
    RUN_IMAGES = "run.images"
    # Carries no content: whoever delivers it reads the newest state.
    LEADERBOARD_CHANGED = "leaderboard.changed"
    SINK_STUCK = "sink.stuck"
    # Somebody asks whether anything arrives; tried once, before all else that is owed.
    SINK_TESTED = "sink.tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """What is owed to every sink that is enabled at this moment.

    Args:
        order_key: Messages of one key are delivered in the order in which they were written; whoever writes one holds
            a lock that all writers of that key hold.
        payload: Strict JSON, ids rather than contents.
    """

    topic: Topic
    order_key: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedMessage:
    """A message that this worker holds until its lease runs out.

    Args:
        kind, settings: Of the sink it is for, as they were when it was claimed.
        attempts: How many times it has been claimed, this time included.
    """

    project_id: UUID
    id: int
    sink: str
    kind: str
    topic: str
    order_key: str
    payload: Mapping[str, Any]
    created_at: datetime
    attempts: int
    lease_id: UUID
    settings: Mapping[str, Any] = field(default_factory=dict)


# About a sink itself: were others told that such a message failed, two stuck sinks would tell each other for ever.
_ABOUT_SINKS = frozenset({Topic.SINK_STUCK, Topic.SINK_TESTED})

# Topics whose messages carry no content: who delivers one has delivered all that were owed before it read the state.
COALESCED = frozenset({Topic.LEADERBOARD_CHANGED})

_owed = outbox_message.c.delivered_at.is_(None) & outbox_message.c.buried_at.is_(None)


def write(
    session: Session,
    *,
    project_id: UUID,
    messages: Sequence[NewMessage],
    now: datetime | None = None,
    only_sink: str | None = None,
    but_not: str | None = None,
    available_at: datetime | None = None,
) -> None:
    """Owe the messages, in their order, to every sink of the project that is enabled, or only to some of them.

    Args:
        now: None is the database's clock.
        available_at: Since when they are due, which is also the order in which they are claimed; None is this moment.
    """
    if not messages:
        return
    _WRITE.run(
        session,
        project_id=project_id,
        topics=[message.topic.value for message in messages],
        order_keys=[message.order_key for message in messages],
        payloads=[dump_strictly(message.payload) for message in messages],
        now=now,
        only_sink=only_sink,
        but_not=but_not,
        available_at=available_at,
    )


def _writing() -> Insert:
    rows = (
        func.unnest(*(bindparam(name, type_=ARRAY(Text)) for name in ("topics", "order_keys", "payloads")))
        .table_valued(
            column("topic", Text),
            column("order_key", Text),
            column("payload", Text),
            with_ordinality="ordinal",
        )
        .render_derived(name="rows")
    )
    owed = (
        select(
            sink.c.project_id,
            sink.c.name,
            rows.c.topic,
            rows.c.order_key,
            cast(rows.c.payload, JSONB),
            func.coalesce(bindparam("now", type_=outbox_message.c.created_at.type), func.now()),
            func.coalesce(bindparam("available_at", type_=outbox_message.c.available_at.type), func.now()),
        )
        .select_from(sink.join(rows, literal(value=True)))
        .where(
            sink.c.project_id == bindparam("project_id"),
            sink.c.enabled,
            sink.c.name == func.coalesce(bindparam("only_sink", type_=Text), sink.c.name),
            sink.c.name.is_distinct_from(bindparam("but_not", type_=Text)),
        )
        .order_by(rows.c.ordinal, sink.c.name)
    )
    columns = ["project_id", "sink", "topic", "order_key", "payload", "created_at", "available_at"]
    return insert(outbox_message).from_select(columns, owed)


_WRITE = Fixed(_writing())


def claim(
    session: Session,
    *,
    kinds: Sequence[str],
    lease_id: UUID,
    lease: timedelta,
    limit: int,
    but_not_for: Collection[tuple[UUID, str]] = (),
) -> list[ClaimedMessage]:
    """Take messages that are due, oldest first, for this worker alone until the lease runs out.

    Only the first message that is owed of each (project, sink, order key): the next one has to wait until that
    is delivered or buried. Disabled and paused sinks, and kinds that this worker does not know, are left alone.

    Args:
        but_not_for: (project, name) of sinks that have enough to do.
    """
    rows = _CLAIM.all(
        session,
        kinds=sorted(kinds),
        holder=lease_id,
        lease=lease,
        most=limit,
        busy=[f"{project}/{name}" for project, name in but_not_for],
    )
    messages = [ClaimedMessage(**row) for row in rows]
    return sorted(messages, key=lambda message: message.id)


def _claiming() -> ReturningUpdate[Any]:
    earlier = outbox_message.alias("earlier")
    waits = exists().where(
        earlier.c.project_id == outbox_message.c.project_id,
        earlier.c.sink == outbox_message.c.sink,
        earlier.c.order_key == outbox_message.c.order_key,
        earlier.c.id < outbox_message.c.id,
        earlier.c.delivered_at.is_(None),
        earlier.c.buried_at.is_(None),
    )
    is_free = outbox_message.c.lease_until.is_(None) | (outbox_message.c.lease_until <= func.now())
    due = (
        select(outbox_message.c.project_id, outbox_message.c.id, sink.c.kind, sink.c.settings)
        .join(
            sink, (sink.c.project_id == outbox_message.c.project_id) & (sink.c.name == outbox_message.c.sink)
        )
        .where(
            _owed,
            outbox_message.c.available_at <= func.now(),
            is_free,
            sink.c.enabled,
            sink.c.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
            sink.c.paused_until.is_(None) | (sink.c.paused_until <= func.now()),
            ~waits,
            func.concat(outbox_message.c.project_id, "/", outbox_message.c.sink)
            != all_(bindparam("busy", type_=ARRAY(Text))),
        )
        .order_by(outbox_message.c.available_at, outbox_message.c.id)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(of=outbox_message, skip_locked=True)
        .cte("due")
    )
    return (
        update(outbox_message)
        .where(outbox_message.c.project_id == due.c.project_id, outbox_message.c.id == due.c.id)
        .values(
            lease_id=bindparam("holder", type_=Uuid),
            lease_until=func.now() + bindparam("lease", type_=Interval),
            attempts=outbox_message.c.attempts + 1,
        )
        .returning(
            outbox_message.c.project_id,
            outbox_message.c.id,
            outbox_message.c.sink,
            due.c.kind,
            outbox_message.c.topic,
            outbox_message.c.order_key,
            outbox_message.c.payload,
            outbox_message.c.created_at,
            outbox_message.c.attempts,
            outbox_message.c.lease_id,
            due.c.settings,
        )
    )


_CLAIM = Fixed(_claiming())


def owed_like(session: Session, message: ClaimedMessage) -> list[int]:
    """Ids of the other messages that are settled when this one is delivered, in their order.

    Ask before the state that is delivered is read: whoever wrote one of these has committed what it is about.
    """
    if message.topic not in COALESCED:
        return []
    query = select(outbox_message.c.id).where(
        outbox_message.c.project_id == message.project_id,
        outbox_message.c.sink == message.sink,
        outbox_message.c.order_key == message.order_key,
        outbox_message.c.topic == message.topic,
        outbox_message.c.id != message.id,
        _owed,
    )
    return list(session.execute(query.order_by(outbox_message.c.id)).scalars())


def renew(session: Session, messages: Sequence[ClaimedMessage], *, lease: timedelta) -> int:
    """Hold them for the lease from now on; how many are still ours."""
    kept = session.execute(
        update(outbox_message)
        .where(
            tuple_(outbox_message.c.project_id, outbox_message.c.id, outbox_message.c.lease_id).in_(
                [(message.project_id, message.id, message.lease_id) for message in messages]
            ),
            _owed,
        )
        .values(lease_until=func.now() + lease)
        .returning(outbox_message.c.id)
    )
    return len(kept.all())


def mark_delivered(
    session: Session,
    message: ClaimedMessage,
    *,
    also: Sequence[int] = (),
    receipt: str | None = None,
    mirrored: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Whether it was still ours to mark; False when the lease ran out and another worker took it.

    Args:
        also: What was owed like it (`owed_like`) and is settled with it, unless another worker holds it.
        receipt: What the receiver answered, for people.
        mirrored: What W&B holds since then, one strict JSON object for each of its runs.
    """
    kept = list(mirrored) or None
    settled = _MARK_DELIVERED.first(
        session,
        project_id=message.project_id,
        message_id=message.id,
        holder=message.lease_id,
        receipt=receipt,
        mirrored=kept,
    )
    if settled is None:
        return False
    if also:
        others = (
            select(outbox_message.c.id)
            .where(
                outbox_message.c.project_id == message.project_id,
                outbox_message.c.id.in_(also),
                outbox_message.c.lease_id.is_(None),
                _owed,
            )
            .order_by(outbox_message.c.id)
            .with_for_update()
        )
        session.execute(
            update(outbox_message)
            .where(outbox_message.c.project_id == message.project_id, outbox_message.c.id.in_(others))
            .values(delivered_at=func.now(), receipt=receipt, mirrored=kept)
        )
    return True


def postpone(session: Session, message: ClaimedMessage, *, delay: timedelta, error: str) -> bool:
    """Try again after the delay; messages behind it in its order wait too."""
    return _settle(session, message, available_at=func.now() + delay, last_error=error)


def bury(session: Session, message: ClaimedMessage, *, error: str) -> bool:
    """Give up; the messages behind it go on, and the project's other sinks are told."""
    if not _settle(session, message, buried_at=func.now(), last_error=error):
        return False
    _tell_others(session, message, reason=f"given up after {message.attempts} tries: {error}")
    return True


def pause(session: Session, message: ClaimedMessage, *, delay: timedelta, reason: str) -> bool:
    """Leave the message's sink alone for so long; the message itself counts as not tried."""
    if not _settle(session, message, attempts=outbox_message.c.attempts - 1, last_error=reason):
        return False
    session.execute(
        update(sink)
        .where(sink.c.project_id == message.project_id, sink.c.name == message.sink)
        .values(paused_until=func.now() + delay, paused_because=reason)
    )
    _tell_others(session, message, reason=f"left alone for now: {reason}")
    return True


def _tell_others(session: Session, message: ClaimedMessage, *, reason: str) -> None:
    if message.topic in _ABOUT_SINKS:
        return
    stuck = NewMessage(
        topic=Topic.SINK_STUCK,
        order_key=f"sink:{message.sink}",
        payload={"sink": message.sink, "reason": reason},
    )
    write(session, project_id=message.project_id, messages=[stuck], but_not=message.sink)


def release(session: Session, message: ClaimedMessage) -> bool:
    """Give back what was claimed and never tried."""
    return _settle(session, message, attempts=outbox_message.c.attempts - 1)


def _settle(session: Session, message: ClaimedMessage, **values: Any) -> bool:
    settled = session.execute(
        update(outbox_message)
        .where(
            outbox_message.c.project_id == message.project_id,
            outbox_message.c.id == message.id,
            outbox_message.c.lease_id == message.lease_id,
            _owed,
        )
        .values(lease_id=None, lease_until=None, **values)
        .returning(outbox_message.c.id)
    )
    return settled.first() is not None


_MARK_DELIVERED = Fixed(
    update(outbox_message)
    .where(
        outbox_message.c.project_id == bindparam("project_id"),
        outbox_message.c.id == bindparam("message_id"),
        outbox_message.c.lease_id == bindparam("holder"),
        _owed,
    )
    .values(
        lease_id=None,
        lease_until=None,
        delivered_at=func.now(),
        receipt=bindparam("receipt", type_=Text),
        mirrored=bindparam("mirrored", type_=outbox_message.c.mirrored.type),
    )
    .returning(outbox_message.c.id)
)
