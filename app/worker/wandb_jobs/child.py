"""The program that brings one job to W&B and says what became of it; the only module that imports wandb.

`python -m app.worker.wandb_jobs.child DIRECTORY LIFELINE` with the order as one line of JSON on standard input and the
outcome as one line of JSON on standard output. LIFELINE is the number of a pipe that the parent holds open as long as
it lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import wandb
from PIL import Image
from pydantic import ValidationError
from wandb.apis.public.runs import RunNotFoundError
from wandb.plot.custom_chart import CustomChart
from wandb.sdk.wandb_run import Run

from app.worker.wandb_jobs import order as orders
from app.worker.wandb_jobs import outcome as outcomes
from app.worker.wandb_jobs import readback
from app.worker.wandb_jobs.failures import Unacceptable, judged
from app.worker.wandb_jobs.internal_log import alert_answers
from app.worker.wandb_jobs.job import Alert, Job
from app.worker.wandb_jobs.order import Limits, Mode, Order, Target, sync_command
from app.worker.wandb_jobs.outcome import Outcome, State
from app.worker.wandb_jobs.readback import ALERTS, DIGEST, MOST_MARKS, REV, Found
from app.worker.wandb_jobs.values import Cell, Kind

_TYPES = {Kind.TEXT: str, Kind.NUMBER: float, Kind.FLAG: bool}
# Within this W&B itself sends no second alert of the same title: should we die between sending and noting it.
_ALERT_WAIT_SECONDS = 3600
_HELPER_GONE_SECONDS = 5.0


def main() -> None:
    directory, lifeline = sys.argv[1], int(sys.argv[2])
    is_orphaned = threading.Event()
    leave = threading.Thread(target=_leave_with_parent, args=(lifeline, directory, is_orphaned), daemon=True)
    leave.start()
    # What wandb prints must not get between the parent and the outcome.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        outcome = _deliver(orders.from_document(json.loads(sys.stdin.readline())))
    except Exception as error:  # noqa: BLE001  the door: whatever wandb raises is an outcome
        outcome = judged(error)
    os.write(answer, json.dumps(outcomes.to_document(outcome)).encode() + b"\n")
    if is_orphaned.is_set():
        # What failed is the helper that was killed; the directory is still being removed.
        leave.join()
    # Whatever wandb would still do at the end of the process, it is not what was read back, and it may take minutes.
    os._exit(0)


def settings(target: Target, directory: str, limits: Limits) -> wandb.Settings:
    """Quiet, without anything about this machine, and with bounds.

    Raises:
        pydantic.ValidationError: This release of wandb lacks one of them.
    """
    return wandb.Settings(
        mode=target.mode.value,
        root_dir=directory,
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        host="mirror",
        program="mirror",
        # By default "Stop run" on W&B's page interrupts the process that hosts the run.
        stop_fn=lambda: None,
        init_timeout=limits.init_seconds,
        finish_timeout=limits.finish_seconds,
        finish_timeout_raises=True,
        x_graphql_retry_max=limits.retries,
        x_graphql_timeout_seconds=limits.request_seconds,
        x_graphql_retry_wait_min_seconds=limits.shortest_wait_seconds,
        x_graphql_retry_wait_max_seconds=limits.longest_wait_seconds,
        x_file_stream_retry_max=limits.retries,
        x_file_stream_timeout_seconds=limits.request_seconds,
        x_file_stream_retry_wait_min_seconds=limits.shortest_wait_seconds,
        x_file_stream_retry_wait_max_seconds=limits.longest_wait_seconds,
        x_file_transfer_retry_max=limits.retries,
        x_file_transfer_timeout_seconds=limits.request_seconds,
        x_file_transfer_retry_wait_min_seconds=limits.shortest_wait_seconds,
        x_file_transfer_retry_wait_max_seconds=limits.longest_wait_seconds,
    )


def _deliver(order: Order) -> Outcome:
    order = replace(order, job=_legible(order))
    job, target = order.job, order.target
    if target.mode is Mode.OFFLINE:
        written = _write(order, with_data=True, alerts=job.alerts, told=[])
        command = sync_command(target, written.directory)
        return Outcome(state=State.KEPT_OFFLINE, directory=written.directory, command=command)
    found = _read(job, target, order.limits)
    if readback.is_newer(job, found):
        return Outcome(state=State.STALE, reason="W&B already has something newer", url=_url(found))
    lacks = readback.missing(job, found)
    told = readback.told(found)
    owed = [alert for alert in job.alerts if alert.mark not in told]
    if not lacks and not owed:
        return Outcome(state=State.ALREADY, url=_url(found))
    written = _write(order, with_data=bool(lacks), alerts=owed, told=told)
    found = _read(job, target, order.limits)
    noted = readback.told(found)
    silent = [
        f"W&B did not confirm the alert {each.title!r}" for each in job.alerts if each.mark not in noted
    ]
    reasons = [*written.lost, *filter(None, [readback.missing(job, found)]), *silent]
    if reasons:
        return Outcome(state=State.RETRY, reason=reasons[0], url=_url(found))
    return Outcome(state=State.DELIVERED, url=_url(found))


def _legible(order: Order) -> Job:
    """The job without the pictures that nobody can draw, and the number of those: the rest need not wait for them."""
    job = order.job
    legible = tuple(each for each in job.pictures if _is_legible(order.pictures / each.file_name))
    if len(legible) == len(job.pictures):
        return job
    illegible = len(job.pictures) - len(legible)
    return replace(job, pictures=legible, scalars={**job.scalars, "mirror/images_illegible": illegible})


def _is_legible(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        # What PIL says to damaged images.
        return False
    return True


def _read(job: Job, target: Target, limits: Limits) -> Found | None:
    """The run as the server has it now; None where it does not exist.

    With a new client each time, since each answers again what it was answered once.
    """
    api = wandb.Api(
        overrides={"base_url": target.base_url, "entity": target.entity or None, "project": target.project},
        timeout=max(1, round(limits.request_seconds)),
    )
    try:
        run = api.run("/".join(filter(None, (target.entity, target.project, job.run_id))))
    except wandb.errors.CommError as error:
        if isinstance(error.exc, RunNotFoundError):
            return None
        raise
    summary = run.summary_metrics
    paths = readback.paths_in(summary, job)
    files = {file.name: file.size for file in run.files(names=paths)} if paths else {}
    return Found(summary=summary, last_step=_last_step(run), files=files, url=run.url)


def _last_step(run: Any) -> int | None:
    step = run.lastHistoryStep
    return step if isinstance(step, int) and step >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What wandb itself knows after writing.

    Args:
        directory: Where it keeps its record of the run.
        lost: Why tables did not become artifacts, of which W&B's page draws them.
    """

    directory: str
    lost: list[str]


def _write(order: Order, *, with_data: bool, alerts: Sequence[Alert], told: list[str]) -> _Written:
    """Write what is missing, the data in one row."""
    job, target = order.job, order.target
    try:
        content = _content(job)
    except (TypeError, ValueError) as error:
        raise Unacceptable(str(error)) from error
    run = wandb.init(
        entity=target.entity or None,
        project=target.project,
        id=job.run_id,
        name=job.name,
        group=job.group or None,
        job_type=job.job_type,
        tags=list(job.tags),
        config=dict(job.config),
        dir=order.directory,
        resume="allow",
        settings=settings(target, order.directory, order.limits),
    )
    if with_data:
        run.define_metric("*", step_metric=REV)
        _log(run, {**content, **_pictures(order), **job.scalars, REV: job.rev})
    log = Path(run.settings.log_internal)
    confirmed = _send(run, log, order, alerts)
    lost = _lost_artifacts(content, order.limits) if with_data and target.mode is Mode.ONLINE else []
    if with_data:
        # With the row it goes out last of all, so that a run with this digest is whole.
        run.summary[DIGEST] = "" if lost else job.digest
    if confirmed:
        run.summary[ALERTS] = " ".join([*told, *confirmed][-MOST_MARKS:])
    run.finish()
    return _Written(directory=run.settings.sync_dir, lost=lost)


def _lost_artifacts(content: dict[str, Any], limits: Limits) -> list[str]:
    """Why tables did not become artifacts; wandb's `finish` says nothing of it, and their files may be there.

    There is no public way from a logged table to its artifact, nor to what W&B answered.
    """
    lost = []
    end = time.monotonic() + limits.taken_seconds
    for key, logged in content.items():
        table = logged.table if isinstance(logged, CustomChart) else logged
        target = table._artifact_target  # noqa: SLF001
        handle = None if target is None else target.artifact._save_handle  # noqa: SLF001
        if handle is None:
            lost.append(f"wandb did not send the table {key}")
            continue
        try:
            answer = handle.wait_or(timeout=max(0.1, end - time.monotonic()))
        except TimeoutError:
            lost.append(f"W&B did not take the table {key} in time")
        else:
            if said := answer.response.log_artifact_response.error_message:
                lost.append(f"W&B did not take the table {key}: {said}")
    return lost


def _log(run: Run, row: dict[str, Any]) -> None:
    try:
        # One call is one row: a second one could arrive without the first.
        run.log(row)
    except ValidationError:
        # The server's answer was not what wandb expects; the row is not to blame.
        raise
    except (TypeError, ValueError) as error:
        raise Unacceptable(str(error)) from error


def _send(run: Run, log: Path, order: Order, alerts: Sequence[Alert]) -> list[str]:
    """Send the alerts one by one; the marks of those that W&B has confirmed."""
    confirmed = []
    for alert in alerts:
        before = len(alert_answers(log))
        run.alert(alert.title, alert.text, level=alert.level, wait_duration=_ALERT_WAIT_SECONDS)
        is_online = order.target.mode is Mode.ONLINE
        if is_online and _answer(log, after=before, seconds=order.limits.taken_seconds):
            confirmed.append(alert.mark)
    return confirmed


def _answer(log: Path, *, after: int, seconds: float) -> bool:
    """Whether W&B says yes to the alert after so many others, in time."""
    end = time.monotonic() + seconds
    while len(answers := alert_answers(log)) <= after:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return answers[after]


def _content(job: Job) -> dict[str, Any]:
    logged: dict[str, Any] = {each.name: _table(each.columns, each.rows, each.kinds) for each in job.tables}
    for bars in job.bars:
        data = _table((bars.label, bars.value), bars.bars, (Kind.TEXT, Kind.NUMBER))
        logged[bars.name] = wandb.plot.bar(data, bars.label, bars.value, title=bars.title)
    for lines in job.lines:
        logged[lines.name] = wandb.plot.line_series(
            xs=list(lines.xs),
            ys=[list(ys) for ys in lines.ys.values()],
            keys=list(lines.ys),
            title=lines.title,
            xname=lines.x,
        )
    for histogram in job.histograms:
        data = _table((histogram.value,), [(value,) for value in histogram.values], (Kind.NUMBER,))
        logged[histogram.name] = wandb.plot.histogram(data, histogram.value, title=histogram.title)
    return logged


def _pictures(order: Order) -> dict[str, wandb.Image]:
    # From its file, so that it arrives byte by byte: whatever wandb is given unpacked it packs anew.
    return {
        each.name: wandb.Image(str(order.pictures / each.file_name), caption=each.caption)
        for each in order.job.pictures
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], kinds: Sequence[Kind]) -> wandb.Table:
    return wandb.Table(
        columns=list(columns), data=[list(row) for row in rows], dtype=[_TYPES[kind] for kind in kinds]
    )


def _url(found: Found | None) -> str:
    return "" if found is None else found.url


def _leave_with_parent(lifeline: int, directory: str, is_orphaned: threading.Event) -> None:
    """End this process when the parent is gone, with its helper and its directory: nobody else knows of them."""
    while os.read(lifeline, 1):
        continue
    is_orphaned.set()
    helpers = psutil.Process().children(recursive=True)
    for helper in helpers:
        with contextlib.suppress(psutil.NoSuchProcess):
            helper.kill()
    # One that still writes would make the directory again while it is being removed.
    psutil.wait_procs(helpers, timeout=_HELPER_GONE_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
