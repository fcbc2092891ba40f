"""Where messages go: one sink for each kind that this release knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias

from app.db import SessionFactory
from app.db.outbox import ClaimedMessage
from app.worker.log_sink import LogSink


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredRun:
    """What one run of W&B holds since a delivery.

    Args:
        run, name: Its id, and what W&B calls it.
        url: Its page at W&B; "" for one that is kept offline.
        directory, command: Where it is kept offline, and what brings it to W&B; "" for one that is there.
        tables, charts, images: By the keys that W&B shows them under.
        alerts: Their titles.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What is worth keeping of a delivery.

    Args:
        receipt: What the receiver answered, for people: the address of a W&B run. Never a secret.
        mirrored: Where it was W&B.
    """

    receipt: str | None = None
    mirrored: tuple[MirroredRun, ...] = ()


class Refused(Exception):
    """The payload can never work: the message is buried at once, with this reason."""


class Paused(Exception):
    """The receiver takes nothing for now, whatever is sent: a credential was refused, a limit is reached.

    The whole sink is left alone for so long; the message stays owed and counts as not tried.
    """

    def __init__(self, reason: str, for_: timedelta) -> None:
        super().__init__(reason)
        if for_ <= timedelta(0):
            raise ValueError(f"a sink is paused for some time, not for {for_}")
        self.reason, self.for_ = reason, for_


class Sink(Protocol):
    def deliver(self, message: ClaimedMessage) -> Delivered | None:
        """Bring one message to its receiver; it has arrived when this returns.

        The same message may come twice (the worker died before it noted the first time): receivers know it by
        (project_id, id). A sink of a slow kind is called by several threads at once, never for the same sink of a
        project. It bounds its own waiting: after a minute and a half a delivery is given up from outside.

        Raises:
            Refused: Trying again is of no use.
            Paused: Nor is trying the next message.
            Exception: Anything else is a failed try, which is repeated later.
        """


# What a sink reads of the database, it reads in transactions of its own, which end before it speaks to the network.
SinkMaker: TypeAlias = Callable[[SessionFactory], Sink]

SINKS: Mapping[str, SinkMaker] = {"log": lambda _: LogSink()}

# How many deliveries of a kind may be under way at once, each in a thread of its own. Kinds that are not named here
# take no time and are delivered between other steps.
SLOW_KINDS: Mapping[str, int] = {"wandb": 2, "apprise": 2, "webhook": 4}
