"""Where a run's evaluations go: to disk and to the service, or nowhere."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol
from uuid import UUID, uuid4

from truerun import verdict as verdicts
from truerun import wire
from truerun.courier import Courier
from truerun.ids import new_id
from truerun.manners import Manners, NotDelivered
from truerun.meter import Receipt
from truerun.pending import Pending
from truerun.record import RunRecord
from truerun.recorder import Recorder
from truerun.segments import Record
from truerun.sender import Sender
from truerun.spool import Spool
from truerun.store import Store
from truerun.transport import Transport
from truerun.verdict import Verdict

# What may wait in memory when the disk does not take it.
MEMORY_BYTES = 8 * 1024 * 1024


class Outlet(Protocol):
    """What a run posts to."""

    muted_because: str | None
    recorder: Recorder | None

    @property
    def is_drained(self) -> bool: ...

    def post(self, document: Mapping[str, Any], /) -> Receipt: ...

    def nudge(self) -> None: ...

    def close(self, seconds: float, /) -> str | None: ...

    def abandon(self) -> None: ...


class Settled(Receipt):
    """A receipt whose verdict is known from the start."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def wait(self, _timeout: float, /) -> Verdict:
        return self._verdict


class Muted:
    """Takes everything and does nothing: another rank, a forked child, a pickled copy, mode off.

    Args:
        muted_because: For the verdict's sentence.
    """

    def __init__(self, muted_because: str) -> None:
        self.muted_because: str | None = muted_because
        self.recorder: Recorder | None = None

    @property
    def is_drained(self) -> bool:
        return True

    def post(self, _document: Mapping[str, Any], /) -> Receipt:
        return Settled(verdicts.unknown(f"nothing was recorded: {self.muted_because}"))

    def nudge(self) -> None:
        pass

    def close(self, _seconds: float, /) -> str | None:
        return None

    def abandon(self) -> None:
        pass


class OnItsWay(Receipt):
    """Waits for the sender; strict runs hear of everything that is no verdict."""

    def __init__(self, pending: Pending, sender: Sender, manners: Manners, place: str) -> None:
        self._pending = pending
        self._sender = sender
        self._manners = manners
        self._place = place

    def wait(self, timeout: float, /) -> Verdict:
        # A time beyond what the platform can count is no time limit anyone can tell from a large one.
        self._pending.settled.wait(min(max(timeout, 0.0), threading.TIMEOUT_MAX))
        verdict = self._pending.verdict
        if verdict is None:
            trouble = f" ({self._sender.trouble})" if self._sender.trouble else ""
            verdict = verdicts.unknown(
                f"no verdict within {timeout:g} s{trouble}; the evaluation is {self._place} and will be sent",
                evaluation=str(self._pending.evaluation),
            )
        if (
            self._manners.strict
            and verdict.gate in ("unknown", "rejected")
            and (timeout > 0 or verdict.problem)
        ):
            raise NotDelivered(f"{verdict.gate}: {verdict.sentence}")
        return verdict


class Delivery:
    """Disk first, then the service.

    Args:
        spool: None where no directory could be made; then evaluations wait in memory.
        transport: None in mode offline: everything stays on disk for `truerun sync`.
        describe: Finds out git_commit and environment; called on the sender's thread.
        leftovers: Sends what earlier processes left behind, one thing a step.
    """

    muted_because: str | None = None

    def __init__(
        self,
        record: RunRecord,
        *,
        spool: Spool | None,
        transport: Transport | None,
        manners: Manners,
        describe: Callable[[], Mapping[str, Any]],
        leftovers: Generator[None, None, None],
    ) -> None:
        self.record = record
        self.spool = spool
        self._manners = manners
        self._describe = describe
        self._transport = transport
        self._kept: tuple[int, str | None] | None = None
        self._posted: list[Pending] = []
        self._prune_at = 64
        self.recorder: Recorder | None = self._new_recorder()
        self._sender = Sender(
            spool=spool,
            courier=Courier(transport, record) if transport is not None else None,
            manners=manners,
            prepare=self._prepare,
            leftovers=leftovers,
            keep_run=self._keep_run,
            recorder=self.recorder,
        )

    @property
    def is_drained(self) -> bool:
        return self._sender.drained.is_set()

    def start(self) -> None:
        self._keep_run()
        self._sender.start()
        if self.recorder is not None:
            self.recorder.start()

    def post(self, document: Mapping[str, Any]) -> Receipt:
        """Keep the evaluation on disk, then hand it to the sender.

        Raises:
            NotDelivered: Strict only: it could be kept nowhere.
        """
        pending = Pending(evaluation=new_id())
        body = wire.encode(document)
        place = self._keep(pending, body)
        if place is None:
            return self._lost(pending.evaluation)
        if self._transport is None:
            return Settled(
                verdicts.unknown(
                    f"recorded offline, {place}; {self._way_out}", evaluation=str(pending.evaluation)
                )
            )
        self._posted = [
            item for item in self._posted if item.verdict is None or item.verdict.gate == "unknown"
        ]
        self._posted.append(pending)
        self._sender.put(pending)
        return OnItsWay(pending, self._sender, self._manners, place)

    def nudge(self) -> None:
        self._sender.nudge()

    def close(self, seconds: float) -> str | None:
        """Deliver what can be delivered in time; a line for the user when something is left."""
        if self._sender.drained.is_set():
            return None
        until = time.monotonic() + seconds
        if self.recorder is not None and not self.recorder.flush(seconds):
            self._manners.complain("unwritten", "not everything that was logged could be written in time")
        if self._sender.close(max(0.0, until - time.monotonic())) or self._transport is None:
            return None
        waiting = len(self._undelivered())
        records = 0 if self.recorder is None else self.recorder.unsent
        parts = [f"{waiting} evaluation{'s' if waiting > 1 else ''}"] if waiting else []
        parts += [f"{records} record{'s' if records > 1 else ''}"] if records else []
        what = " and ".join(parts) or "the run's end"
        because = f" ({self._sender.trouble})" if self._sender.trouble else ""
        if self.spool is None:
            return (
                f"{what} of run {self.record.run_key} not delivered{because} and, without a usable disk, lost"
            )
        return f"{what} of run {self.record.run_key} not delivered yet{because}; send with: {self._way_out}"

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent."""
        if self.spool is not None:
            self.spool.unlock()
        if self.recorder is not None:
            self.recorder.abandon()

    def _new_recorder(self) -> Recorder:
        stream_id = uuid4()
        directory = None if self.spool is None else self.spool.stream_directory(stream_id)
        return Recorder(
            Store(directory, stream_id, self._manners.complain),
            facts=self.record.stream_facts,
            manners=self._manners,
            # The sender is made after this.
            on_news=lambda: self._sender.hint(),  # noqa: PLW0108
            set_aside=self._set_aside,
        )

    def _set_aside(self, record: Record, why: str) -> None:
        place = "" if self.spool is None else f"; it is kept in {self.spool.directory / 'rejected'}"
        self._manners.complain("record_refused", f"record {record.idx} was refused: {why}{place}")
        if self.spool is not None and self.recorder is not None:
            try:
                self.spool.set_aside(self.recorder.stream_id, record, why)
            except OSError as error:
                self._manners.complain("spool", f"a refused record could not be kept: {error}")

    def _undelivered(self) -> list[Pending]:
        return [item for item in self._posted if item.verdict is None or item.verdict.gate == "unknown"]

    @property
    def _way_out(self) -> str:
        return (
            f"truerun sync {shlex.quote(str(self.spool.directory))}"
            if self.spool is not None
            else "nothing is on disk"
        )

    def _keep(self, pending: Pending, body: bytes) -> str | None:
        """Where the evaluation is now, in words; None when nothing could take it."""
        if self.spool is not None:
            try:
                self.spool.write_evaluation(pending.evaluation, body)
                return f"on disk in {self.spool.directory}"
            except OSError as error:
                self._manners.complain(
                    "spool", f"the disk does not take an evaluation, keeping it in memory: {error}"
                )
        held = sum(len(item.body) for item in self._posted if item.body is not None)
        if self._transport is None or held + len(body) > MEMORY_BYTES:
            return None
        pending.body = body
        return "in memory only"

    def _lost(self, evaluation: UUID) -> Receipt:
        self._manners.complain(
            "lost", f"evaluation {evaluation} could be kept neither on disk nor in memory and is lost"
        )
        if self._manners.strict:
            raise NotDelivered(f"evaluation {evaluation} could be kept neither on disk nor in memory")
        return Settled(verdicts.unknown("nothing was recorded: neither disk nor memory took it"))

    def _prepare(self) -> None:
        self.record.surround(self._describe())

    def _keep_run(self) -> None:
        state = (self.record.version, self.record.status)
        if self.spool is None or self._kept == state:
            return
        try:
            self.spool.write_run(self.record.document())
            self._kept = state
        except OSError as error:
            self._manners.complain("spool", f"run.json cannot be written: {error}")
