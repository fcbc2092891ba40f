"""Ending well when a scheduler takes the machine away: `truerun.on_preempt(callback=save_checkpoint)`.

The handler runs the callback, where a signal's handler runs: between two lines of the main thread. The runs are
ended by a thread that was started beforehand, so that a lock which the interrupted line holds can delay the end but not
hang it, and so that a main thread which hangs, in a collective whose other half is gone, does not keep the runs from
being told as preempted.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Concatenate, ParamSpec, TypeVar

from truerun.manners import Manners, WrongCall, guarded, nothing
from truerun.ranks import rank
from truerun.session import live_runs

P = ParamSpec("P")
R = TypeVar("R")

# Together less than the half minute that most schedulers leave.
CALLBACK_SECONDS = 15.0
DELIVERY_SECONDS = 10.0
# A signal that arrives inside of our own code is sent again so often, so much later.
MOST_PUT_OFF = 50
PUT_OFF_SECONDS = 0.004
_BY_SIGNAL = 128


class Notice:
    """One signal, as the handler and the thread that ends the runs share it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.called_back: SimpleQueue[None] = SimpleQueue()
        self.ended: SimpleQueue[None] = SimpleQueue()
        self.is_ended = False


class Preemption:
    """What this process does when it is told to go.

    Args:
        manners: For what is wrong with a call.
    """

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self._before: dict[int, Any] = {}
        self._callback: Callable[[], object] | None = None
        self._callback_seconds = CALLBACK_SECONDS
        self._delivery_seconds = DELIVERY_SECONDS
        # None: the handler has come to run.
        self._news: SimpleQueue[Notice | int | None] = SimpleQueue()
        self._current: Notice | None = None
        self._put_off = 0
        self._pipe: tuple[int, int] | None = None

    @guarded(nothing)
    def install(
        self,
        callback: Callable[[], object] | None = None,
        *,
        signals: Iterable[str | int] = ("SIGTERM",),
        callback_timeout: float = CALLBACK_SECONDS,
        timeout: float = DELIVERY_SECONDS,
    ) -> None:
        """End the runs of this process as `preempted` when a signal says so, then do what was done about it before.

        The callback first, then delivery, then the handler that was there before; where there was none, the process
        ends by the signal as it always did. A second signal meanwhile changes nothing, unless the time is up. A call
        again replaces callback and times. In a forked child, and on a rank that records nothing, everything is as if
        this had never been called.

        Args:
            callback: Saves a checkpoint, say; on the main thread. What it raises is told and holds up nothing.
            signals: By name or number; `("SIGTERM", "SIGUSR1")` for a SLURM job with `--signal=USR1@120`.
            callback_timeout: Seconds after which delivery begins although the callback still runs. It is never cut off.
            timeout: Longest time to deliver, in seconds; what is left then lies on the disk.
        """
        if callback is not None and not callable(callback):
            raise WrongCall("preempt", f"callback must be a function, not {callback!r:.80}")
        numbers = [_number(each) for each in ([signals] if isinstance(signals, str | int) else signals)]
        if os.name != "posix" or threading.current_thread() is not threading.main_thread():
            raise WrongCall("preempt", "on_preempt() works in the main thread of a POSIX system only")
        self._callback_seconds = max(0.0, float(callback_timeout))
        self._delivery_seconds = max(0.0, float(timeout))
        self._callback = callback
        self._start()
        for number in numbers:
            self._take(number)

    def leave(self) -> None:
        """In a forked child: everything as it was before."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, before)
        if self._pipe is not None:
            # The child's signals are no news for its parent, who reads the other end.
            _set_wakeup(-1, instead_of=self._pipe[1])

    def _take(self, number: int) -> None:
        before = signal.getsignal(number)
        if number in self._before:
            if before != self._on_signal:
                self.manners.complain(
                    "preempt_replaced",
                    f"another handler of {_name(number)} has replaced on_preempt()'s since",
                )
        elif before is None:
            self.manners.complain(
                "preempt_foreign",
                f"{_name(number)} has a handler from outside of Python, which is left alone",
            )
        else:
            self._before[number] = before
            signal.signal(number, self._on_signal)

    def _start(self) -> None:
        if self._pipe is not None:
            return
        reads, writes = os.pipe()
        os.set_blocking(writes, False)
        threading.Thread(target=self._work, args=(reads,), name="truerun-preemption", daemon=True).start()
        self._pipe = reads, writes
        # So the thread hears of a signal even while the main thread is stuck outside of Python; where an event loop
        # listens already, it goes without.
        _set_wakeup(writes, instead_of=-1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._tell(None)
        if rank() != 0 and not live_runs():
            self._go_on(number, frame)
            return
        if self._current is not None:
            if self._current.is_ended:
                self._go_on(number, frame)
            return
        if _is_ours(frame) and self._put_off < MOST_PUT_OFF:
            # What was interrupted may hold a lock that ending the run needs.
            self._put_off += 1
            self._tell(number)
            return
        self._put_off = 0
        self._current = notice = Notice(number)
        try:
            self._tell(notice)
            try:
                self._call_back()
            finally:
                notice.called_back.put(None)
                with contextlib.suppress(Empty):
                    notice.ended.get(timeout=self._delivery_seconds + 1.0)
        finally:
            self._current = None
        self._go_on(number, frame)

    def _call_back(self) -> None:
        if self._callback is None:
            return
        try:
            self._callback()
        except Exception as error:  # noqa: BLE001 - the user's own code; the run has to be told of all the same
            self.manners.complain("preempt_callback", f"the callback of on_preempt() failed: {error!r}")

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _tell(self, news: Notice | int | None) -> None:
        # Neither can hang, whatever the signal has interrupted.
        self._news.put(news)
        if self._pipe is not None:
            # Where it is full, the thread is awake.
            with contextlib.suppress(BlockingIOError):
                os.write(self._pipe[1], b"\0")

    def _work(self, reads: int) -> None:
        stuck_at: float | None = None
        number = 0
        while True:
            left = None if stuck_at is None else max(0.0, stuck_at - time.monotonic())
            if not select.select([reads], [], [], left)[0]:
                # The interpreter has noted the signal, and the main thread has not come to its handler.
                stuck_at = None
                self._end_runs(number)
                continue
            for noted in os.read(reads, 4096):
                if noted in self._before and stuck_at is None:
                    stuck_at, number = time.monotonic() + self._callback_seconds, noted
            while not self._news.empty():
                stuck_at = None
                self._follow(self._news.get())

    def _follow(self, news: Notice | int | None) -> None:
        if isinstance(news, int):
            time.sleep(PUT_OFF_SECONDS)
            os.kill(os.getpid(), news)
        elif news is not None:
            with contextlib.suppress(Empty):
                news.called_back.get(timeout=self._callback_seconds)
            self._end_runs(news.number)
            news.is_ended = True
            news.ended.put(None)

    def _end_runs(self, number: int) -> None:
        deadline = time.monotonic() + self._delivery_seconds
        for run in live_runs():
            run.finish(
                "preempted",
                timeout=max(0.0, deadline - time.monotonic()),
                error=f"asked to end by {_name(number)}",
                exit_code=_BY_SIGNAL + number,
            )
        # One that the interrupted line itself was about to end is in delivery already.
        while time.monotonic() < deadline and not all(run.is_delivered for run in live_runs()):
            time.sleep(PUT_OFF_SECONDS)


def _set_wakeup(descriptor: int, *, instead_of: int) -> None:
    before = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    if before != instead_of:
        signal.set_wakeup_fd(before)


def _is_ours(frame: FrameType | None) -> bool:
    """Whether the line that was interrupted was called, at any distance, by a line of this package."""
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("truerun."):
            return True
        frame = frame.f_back
    return False


def _number(which: str | int) -> int:
    try:
        found = signal.Signals[which] if isinstance(which, str) else signal.Signals(which)
    except (KeyError, ValueError):
        raise WrongCall("preempt", f"there is no signal {which!r}; SIGTERM is one") from None
    if found in (getattr(signal, "SIGKILL", None), getattr(signal, "SIGSTOP", None)):
        raise WrongCall("preempt", f"nothing can be done about {found.name}")
    return int(found)


def _name(number: int) -> str:
    return signal.Signals(number).name


class _Process:
    """What this process has installed."""

    preemption: Preemption | None = None
    is_hooked = False


def _of_process(method: Callable[Concatenate[Preemption, P], R]) -> Callable[P, R]:
    """The method as a function on what this process has."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _Process.preemption is None:
            _Process.preemption = Preemption(Manners())
            if not _Process.is_hooked and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_leave)
                _Process.is_hooked = True
        return method(_Process.preemption, *args, **kwargs)

    return call


def _leave() -> None:
    preemption, _Process.preemption = _Process.preemption, None
    if preemption is not None:
        preemption.leave()


on_preempt = _of_process(Preemption.install)
