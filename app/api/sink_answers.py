"""What is told of sinks and deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.api.answers import Answer
from app.db.deliveries import DeliveryRow


class SecretAnswer(Answer):
    """The environment variable that holds the sink's secret; its value is never told.

    `is_set` speaks of the API's environment: the worker, which uses it, may have another.
    """

    variable: str
    is_set: bool


class PauseAnswer(Answer):
    until: datetime
    because: str | None


class SinkAnswer(Answer):
    """A sink and how it is doing.

    `owed`: messages not delivered yet; `failing`: of these, the ones whose last try failed; `buried`: given up.
    `lag_seconds`: age of the oldest message that is owed. `changed_at` is null for a sink of the project's birth.
    """

    name: str
    kind: str
    enabled: bool
    settings: dict[str, Any]
    secret: SecretAnswer | None
    paused: PauseAnswer | None
    owed: int
    failing: int
    buried: int
    lag_seconds: float
    last_delivered_at: datetime | None
    last_error: str | None
    created_at: datetime
    changed_at: datetime | None
    changed_by: str | None


class SinksAnswer(Answer):
    sinks: list[SinkAnswer]


class MirroredAnswer(Answer):
    """What one run of W&B holds since a delivery: keys of tables, charts and images, titles of alerts.

    One that is kept offline has no `url`, but a `directory` where the worker runs, and the `command` that uploads it.
    """

    run: str
    name: str
    url: str = ""
    directory: str = ""
    command: str = ""
    tables: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()


class DeliveryAnswer(Answer):
    """A message on its way to a sink.

    `attempts` is 0 for one that was settled together with another. `available_at`: not tried before, while it is owed.
    `receipt` is what the receiver answered: the address of a W&B run. `mirrored` is empty for other sinks.
    """

    id: int
    sink: str
    topic: str
    order_key: str
    payload: dict[str, Any]
    state: str
    is_under_way: bool
    attempts: int
    created_at: datetime
    available_at: datetime
    delivered_at: datetime | None
    buried_at: datetime | None
    last_error: str | None
    receipt: str | None
    mirrored: list[MirroredAnswer]


def delivery_answer(row: DeliveryRow) -> DeliveryAnswer:
    return DeliveryAnswer(
        id=row.id,
        sink=row.sink,
        topic=row.topic,
        order_key=row.order_key,
        payload=dict(row.payload),
        state=row.state.value,
        is_under_way=row.is_under_way,
        attempts=row.attempts,
        created_at=row.created_at,
        available_at=row.available_at,
        delivered_at=row.delivered_at,
        buried_at=row.buried_at,
        last_error=row.last_error,
        receipt=row.receipt,
        mirrored=[MirroredAnswer(**each) for each in row.mirrored],
    )
