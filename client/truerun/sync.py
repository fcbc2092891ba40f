"""Sending what lies in the spool of processes that are gone, or that recorded offline."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from truerun.answers import Answer, Fate
from truerun.courier import Courier
from truerun.feed import Feed, Next
from truerun.journal import remove_orphans
from truerun.manners import Manners
from truerun.points import Other
from truerun.record import RunRecord, record_from
from truerun.segments import Record
from truerun.spool import Spool, unfinished, writers
from truerun.store import Store
from truerun.transport import Transport


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of one writer's directory.

    Args:
        state: `sent` (nothing is left), `waiting` (the service could not be asked or refused the credential),
            `in use` (its process lives), `elsewhere` (it was recorded for another address), or `damaged`.
        reason: Why, where it is not sent.
    """

    directory: Path
    run: str = ""
    project: str = ""
    state: str = "sent"
    reason: str = ""
    accepted: int = 0
    rejected: int = 0
    left: int = 0
    records: int = 0
    refusals: list[str] = field(default_factory=list)


def open_leftover(directory: Path) -> tuple[Spool, RunRecord] | Report:
    """Take hold of a directory whose process is gone; the caller unlocks it."""
    spool = Spool(directory)
    try:
        if not spool.try_lock():
            return Report(directory=directory, state="in use", reason="the process that writes it still runs")
        return spool, record_from(spool.read_run())
    except (OSError, ValueError) as error:
        spool.unlock()
        return Report(directory=directory, state="damaged", reason=str(error))


def deliver_directory(spool: Spool, record: RunRecord, transport: Transport) -> Iterator[Report]:
    """Send one directory's evaluations in order; yields the report as it grows, after each thing sent.

    Stops at the first thing that the service cannot take now. Tidies up when nothing is left.
    """
    courier = Courier(transport, record)
    # Of the streams that it wrote, whatever the handshake makes of it.
    role = record.role
    waiting = spool.pending()
    report = Report(directory=spool.directory, run=record.run_key, project=record.project, left=len(waiting))
    result, answer = _introduce(courier)
    if result is not Fate.ACCEPTED:
        yield _stopped(report, answer)
        return
    for evaluation in waiting:
        result, answer = courier.deliver(evaluation, spool.read_evaluation(evaluation))
        if result is Fate.ACCEPTED:
            spool.accept(evaluation)
            report.accepted += 1
        elif result is Fate.REJECTED:
            spool.reject(evaluation, answer.problem)
            report.rejected += 1
            report.refusals.append(f"{evaluation}: {answer.reason}")
        else:
            yield _stopped(report, answer)
            return
        report.left -= 1
        yield report
    for directory in spool.streams():
        yield from _deliver_stream(spool, directory, role, courier, report)
        if report.state == "waiting":
            return
    if courier.report_status() is Fate.RETRY:
        yield _stopped(report, Answer(trouble="the service could not be told that the run ended"))
        return
    spool.remove()
    yield report


def _deliver_stream(
    spool: Spool, directory: Path, role: str, courier: Courier, report: Report
) -> Iterator[Report]:
    """Send what is left of one stream, batch by batch."""
    try:
        store = Store.leftover(directory, lambda _kind, message: report.refusals.append(message))
    except ValueError:
        return

    def set_aside(record: Record, why: str) -> None:
        report.rejected += 1
        report.refusals.append(f"record {record.idx}: {why}")
        spool.set_aside(store.stream_id, record, why)

    record = courier.record
    feed = Feed(
        store,
        {
            "attempt_id": record.attempt_id if role == "train" else record.attached_attempt,
            "role": role,
            "rank": record.rank,
            # Whoever finds records on a disk is not the training that made them.
            "live": False,
        },
        counts=lambda: {"logged": store.until},
        set_aside=set_aside,
    )
    has_end = any(
        isinstance(each, Other) and each.document.get("type") == "finish"
        for each in store.read(0, most_records=sys.maxsize, most_bytes=sys.maxsize)
    )
    while feed.has_more:
        body, is_packed = feed.body()
        before = feed.next_idx
        answer = courier.post_records(store.stream_id, body, is_packed=is_packed)
        if feed.take(answer) is not Next.GO_ON:
            yield _stopped(report, answer)
            return
        report.records += max(0, feed.next_idx - before)
        yield report
    courier.has_told_end = courier.has_told_end or has_end
    store.close(is_settled=True)
    (directory / "reserve").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()
    yield report


def tidy(root: Path, *, now: float) -> None:
    """Take away what processes left that died inside `init()`, and the journals of directories that are gone.

    Args:
        root: The spool.
        now: Seconds of the Unix epoch.

    Raises:
        OSError: Something could not be removed.
    """
    if not root.is_dir():
        return
    for directory in unfinished(root, now=now):
        spool = Spool(directory)
        try:
            if spool.try_lock():
                for stream in spool.streams():
                    # Should its journal hold anything, it goes to the disk, and the directory stays.
                    Store.leftover(stream, lambda _kind, _message: None)
                spool.remove()
        finally:
            spool.unlock()
    remove_orphans(root)


def deliver_leftovers(
    root: Path, transport: Transport, record: RunRecord, manners: Manners, *, mine: Path
) -> Generator[None, None, None]:
    """Send what earlier processes meant for the same project and address, one thing a step.

    What was recorded offline stays: whoever chose that may not want it sent yet.
    """
    try:
        try:
            tidy(root, now=time.time())
        except OSError as error:
            manners.complain("spool", f"{root} could not be tidied up: {error}")
        for directory in writers(root):
            opened = open_leftover(directory) if directory != mine else None
            if opened is None or isinstance(opened, Report):
                continue
            spool, old = opened
            try:
                if (old.mode, old.url, old.project) != ("online", record.url, record.project):
                    continue
                for report in deliver_directory(spool, old, transport):
                    yield
                    for refusal in report.refusals:
                        manners.complain(
                            "rejected", f"an evaluation of run {old.run_key} was refused: {refusal}"
                        )
                    report.refusals.clear()
                    if report.state == "waiting":
                        return
            except OSError as error:
                manners.complain("spool", f"{directory}: {error}")
            finally:
                spool.unlock()
    finally:
        transport.close()


def nothing_left() -> Generator[None, None, None]:
    """For a run that sends nothing."""
    yield from ()


def _introduce(courier: Courier) -> tuple[Fate, Answer]:
    result, answer = courier.introduce()
    if answer.status == 403 and courier.record.role == "train":
        # Another attempt went on since. Its evaluations may still be added; the run itself is not touched.
        courier.record.role = "attach"
        return courier.introduce()
    return result, answer


def _stopped(report: Report, answer: Answer) -> Report:
    report.state, report.reason = "waiting", answer.reason
    return report
