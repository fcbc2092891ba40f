"""The one thread that talks to the service; what it has not delivered yet lies in the spool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from queue import Empty, SimpleQueue

from truerun import verdict as verdicts
from truerun.answers import PARK_SECONDS, Answer, Fate, backoff_seconds
from truerun.courier import Courier
from truerun.feed import Next
from truerun.manners import Manners
from truerun.patience import Patience, jitter
from truerun.pending import Pending
from truerun.recorder import Recorder
from truerun.spool import Spool
from truerun.transport import REQUEST_SECONDS, hush
from truerun.verdict import Verdict, verdict_from

# Changes of the configuration that come in a row are told together.
SETTLING_SECONDS = 1.0
# A service that has been away this long already will not be back before the process ends.
LONG_GONE_SECONDS = 10.0


class Hint:
    """Wakes the sender and says nothing else."""


class Sender:
    """Delivers what it is given, in order, for as long as it takes.

    Args:
        courier: None when nothing is to be sent: then it only keeps run.json.
        prepare: Work that must not happen on the user's thread; done first.
        leftovers: What earlier processes left behind. Each step of it may send one thing; taken when idle.
    """

    def __init__(
        self,
        *,
        spool: Spool | None,
        courier: Courier | None,
        manners: Manners,
        prepare: Callable[[], None],
        leftovers: Generator[None, None, None],
        keep_run: Callable[[], None],
        recorder: Recorder | None = None,
    ) -> None:
        self.drained = threading.Event()
        self._patience = Patience()
        # Of its own: records that a service does not take are no reason to keep evaluations back, or the other way.
        self._records_patience = Patience()
        self._spool = spool
        self._courier = courier
        self._manners = manners
        self._prepare = prepare
        self._keep_run = keep_run
        self._leftovers = leftovers
        self._has_leftovers = courier is not None
        self._recorder = recorder
        self._inbox: SimpleQueue[Pending | Hint | None] = SimpleQueue()
        self._waiting: list[Pending] = []
        self._introduced_at = -SETTLING_SECONDS
        self._closing_until: float | None = None
        self._at_rest = threading.Event()

    @property
    def trouble(self) -> str:
        """Why things wait, in words; empty when all is well."""
        return self._patience.trouble or self._records_patience.trouble

    def start(self) -> None:
        threading.Thread(target=self._work, name="truerun-sender", daemon=True).start()

    def put(self, pending: Pending) -> None:
        """Hand over an evaluation; it is tried at once unless the service asked for patience."""
        self._inbox.put(pending)

    def nudge(self) -> None:
        """Something about the run changed."""
        self._inbox.put(None)

    def hint(self) -> None:
        """There are records to send; that alone is no reason to lose patience with a service that is away."""
        self._inbox.put(Hint())

    def close(self, seconds: float) -> bool:
        """Deliver what can be delivered within `seconds`; whether nothing is left.

        The thread goes on trying afterwards, for as long as the process lives.
        """
        self._at_rest.clear()
        self._closing_until = time.monotonic() + seconds
        self.nudge()
        # An event, not a join: at the interpreter's end a thread may not run any more.
        self._at_rest.wait(seconds)
        return self.drained.is_set()

    def _work(self) -> None:
        hush()
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - not knowing the machine is no reason not to send
            self._manners.complain("prepare", f"the machine could not be described: {error!r}")
        while not self.drained.is_set():
            try:
                self._receive()
                if not self._patience.is_held:
                    self._keep_run()
                    self._step()
            except Exception as error:  # noqa: BLE001 - a fault of ours must neither end the thread nor spin it
                self._manners.complain(
                    "internal", f"an internal error while sending; trying again: {error!r}"
                )
                self._back_off(Answer(trouble=repr(error)))
        if self._courier is not None:
            self._courier.close()
        self._leftovers.close()
        self._at_rest.set()

    @property
    def _is_closing(self) -> bool:
        return self._closing_until is not None

    @property
    def _has_records(self) -> bool:
        return self._recorder is not None and self._recorder.feed.has_more

    def _receive(self) -> None:
        """Sleep until there is news or something is due; take all news."""
        try:
            news = self._inbox.get(timeout=self._idle_seconds())
        except Empty:
            return
        is_news = False
        while True:
            if isinstance(news, Pending):
                self._waiting.append(news)
            is_news = is_news or not isinstance(news, Hint)
            try:
                news = self._inbox.get_nowait()
            except Empty:
                break
        if is_news:
            self._patience.hear_news()
            if self._is_closing:
                self._records_patience.hear_news()
        if self._patience.is_parked:
            self._tell(self._waiting, self.trouble)

    def _idle_seconds(self) -> float | None:
        """None: nothing to do until there is news."""
        if self._courier is None:
            return 0.0 if self._is_closing else None
        due = [item.not_before for item in self._waiting]
        if not self._courier.is_introduced:
            due.append(0.0 if self._waiting else self._introduced_at + SETTLING_SECONDS)
        else:
            if self._recorder is not None:
                at = time.monotonic()
                wanted = at + self._recorder.due_in(at, is_closing=self._is_closing)
                due.append(max(wanted, self._records_patience.until))
            is_done = not self._waiting and not self._has_records
            if is_done if self._is_closing else self._has_leftovers:
                due.append(0.0)
        if not due:
            return None
        earliest = max(min(due), self._patience.until)
        if self._closing_until is not None and earliest > self._closing_until:
            # Nothing will be tried before whoever closes has gone.
            self._at_rest.set()
        return max(0.0, earliest - time.monotonic())

    def _step(self) -> None:
        """Send one thing, the most urgent first."""
        courier, at = self._courier, time.monotonic()
        if courier is None:
            if self._is_closing:
                self._end()
            return
        due = next((item for item in self._waiting if item.not_before <= at), None)
        if not courier.is_introduced:
            if self._waiting or self._is_closing or at >= self._introduced_at + SETTLING_SECONDS:
                self._introduce(courier)
        elif due is not None:
            self._deliver(courier, due)
        elif self._recorder is not None and self._has_records_due(self._recorder, at):
            self._send_records(courier, self._recorder)
        elif self._is_closing:
            if not self._waiting and not self._has_records:
                self._say_goodbye(courier)
        elif self._has_leftovers and next(self._leftovers, self) is self:
            self._has_leftovers = False

    def _introduce(self, courier: Courier) -> None:
        result, answer = courier.introduce(seconds=self._request_seconds())
        if result is Fate.ACCEPTED:
            self._introduced_at = time.monotonic()
            self._patience.recover()
        elif courier.is_early:
            self._patience.back_off(answer)
        elif result is Fate.RETRY:
            self._back_off(answer)
        else:
            self._park(answer.reason)

    def _deliver(self, courier: Courier, item: Pending) -> None:
        body = self._body(item)
        if body is None:
            # Somebody else, such as `truerun sync`, delivered it or took it away.
            self._settle(item, verdicts.unknown("its file left the spool", evaluation=str(item.evaluation)))
            return
        result, answer = courier.deliver(item.evaluation, body, seconds=self._request_seconds())
        if result is Fate.ACCEPTED and answer.document is not None:
            self._patience.recover()
            self._in_spool(lambda spool: spool.accept(item.evaluation))
            self._settle(item, verdict_from(answer.document))
        elif result is Fate.REJECTED:
            self._patience.recover()
            self._reject(item, answer)
        elif result is Fate.PARKED and answer.status == 403:
            # It is this evaluation that the token may not post: the others need not wait for it.
            item.not_before = time.monotonic() + PARK_SECONDS
            self._complain_parked(answer.reason)
            self._tell([item], answer.reason)
        elif result is Fate.PARKED:
            self._park(answer.reason)
        elif answer.status is not None and answer.status >= 500 and answer.retry_after is None:
            # Perhaps it is this one that the service cannot digest: the others need not wait for it.
            item.failures += 1
            item.not_before = time.monotonic() + backoff_seconds(item.failures, jitter())
            self._patience.fail(answer)
            self._lament()
        else:
            self._back_off(answer)

    def _has_records_due(self, recorder: Recorder, at: float) -> bool:
        if self._records_patience.is_held:
            return False
        if self._is_closing:
            return recorder.feed.has_more
        return recorder.due_in(at, is_closing=False) <= 0.0

    def _send_records(self, courier: Courier, recorder: Recorder) -> None:
        seconds = self._request_seconds()
        result, answer = recorder.send(
            lambda body, is_packed: courier.post_records(
                recorder.stream_id, body, is_packed=is_packed, seconds=seconds
            ),
            at=time.monotonic(),
        )
        if recorder.feed.rejected:
            idx, code = next(iter(recorder.feed.rejected.items()))
            self._manners.complain(
                "records_rejected", f"the service rejected record {idx} ({code}), and perhaps others"
            )
        if result is Next.GO_ON:
            self._records_patience.recover()
            courier.has_told_end = recorder.has_told_end
        elif result is Next.PARK:
            self._records_patience.park(answer.reason)
            self._complain_parked(answer.reason)
        else:
            self._records_patience.back_off(answer)
            self._manners.complain(
                "undelivered", f"not delivered yet, trying again: {self._records_patience.trouble}"
            )

    def _body(self, item: Pending) -> bytes | None:
        if item.body is not None or self._spool is None:
            return item.body
        try:
            return self._spool.read_evaluation(item.evaluation)
        except FileNotFoundError:
            return None

    def _reject(self, item: Pending, answer: Answer) -> None:
        self._in_spool(lambda spool: spool.reject(item.evaluation, answer.problem))
        where = f"; it is kept in {self._spool.directory / 'rejected'}" if self._spool else ""
        self._manners.complain(
            "rejected", f"evaluation {item.evaluation} was refused: {answer.reason}{where}"
        )
        refusal = verdicts.rejected(answer.reason, evaluation=str(item.evaluation), problem=answer.problem)
        self._settle(item, refusal)

    def _say_goodbye(self, courier: Courier) -> None:
        if courier.report_status(seconds=self._request_seconds()) is Fate.RETRY:
            self._back_off(Answer(trouble="the service could not be told that the run ended"))
            return
        courier.record.status = None
        # Something refused may still lie there; then run.json stays with it, up to date.
        self._keep_run()
        if self._recorder is not None:
            self._recorder.close(is_settled=True)
        self._in_spool(lambda spool: spool.remove())
        self._end()

    def _end(self) -> None:
        if self._recorder is not None:
            self._recorder.close(is_settled=self._courier is not None)
        if self._spool is not None:
            self._spool.unlock()
        self.drained.set()

    def _settle(self, item: Pending, verdict: Verdict) -> None:
        self._waiting.remove(item)
        item.body = None
        item.verdict = verdict
        item.settled.set()

    def _in_spool(self, act: Callable[[Spool], object]) -> None:
        try:
            if self._spool is not None:
                act(self._spool)
        except OSError as error:
            self._manners.complain("spool", f"{self._spool.directory if self._spool else ''}: {error}")

    def _back_off(self, answer: Answer) -> None:
        self._patience.back_off(answer)
        self._lament()

    def _lament(self) -> None:
        self._manners.complain("undelivered", f"not delivered yet, trying again: {self.trouble}")
        if self._is_closing and self._patience.failing_seconds > LONG_GONE_SECONDS:
            self._at_rest.set()

    def _park(self, reason: str) -> None:
        self._patience.park(reason)
        self._complain_parked(reason)
        self._tell(self._waiting, reason)

    def _complain_parked(self, reason: str) -> None:
        minutes = f"{PARK_SECONDS / 60:g} minutes"
        self._manners.complain(
            "parked", f"refused: {reason}; everything is kept, the next try is in {minutes}"
        )

    @staticmethod
    def _tell(items: list[Pending], reason: str) -> None:
        for item in items:
            item.verdict = verdicts.unknown(f"not delivered yet: {reason}", evaluation=str(item.evaluation))
            item.settled.set()

    def _request_seconds(self) -> float:
        left = (self._closing_until or 0.0) - time.monotonic()
        return min(REQUEST_SECONDS, max(1.0, left)) if left > 0 else REQUEST_SECONDS
