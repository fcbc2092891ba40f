"""Mirroring to W&B: what a message is about, brought there by a child process that reads back what it wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from app.db import SessionFactory, clock, locks, projects
from app.db.outbox import ClaimedMessage, Topic
from app.domain.sinks import SinkKind, WandbMode, WandbSettings, settings_from_document
from app.errors import InvalidInput
from app.worker.sinks import Delivered, MirroredRun, Paused, Refused
from app.worker.wandb_contents import jobs_of
from app.worker.wandb_images import filled
from app.worker.wandb_jobs.job import Bars, Histogram, Job, Lines
from app.worker.wandb_jobs.order import Mode, Target
from app.worker.wandb_jobs.outcome import Outcome, State
from app.worker.wandb_jobs.runner import Runner

_LET_IN_AGAIN = timedelta(minutes=15)


class WandbSink:
    """Delivered means read back.

    Args:
        address: The service's own, for links.
        environ: Holds the API keys.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        runner: Runner,
        *,
        address: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._address = address
        self._environ = environ

    def deliver(self, message: ClaimedMessage) -> Delivered | None:
        try:
            settings = settings_from_document(
                SinkKind.WANDB, message.settings, wandb_base_urls=self._runner.allowed
            )
        except InvalidInput as error:
            raise Refused(f"the sink's settings cannot be used: {error}") from None
        if not isinstance(settings, WandbSettings):
            raise Refused(f"{message.sink} is no W&B sink")
        if settings.mode is WandbMode.DISABLED:
            if message.topic == Topic.SINK_TESTED:
                raise Refused("its mode is disabled, so that nothing is sent to W&B")
            return Delivered(receipt="disabled")
        key = None
        if settings.mode is WandbMode.ONLINE:
            key = self._environ.get(settings.key_env)
            if not key:
                raise Paused(f"the environment variable {settings.key_env} is not set", _LET_IN_AGAIN)
        target = Target(
            base_url=settings.base_url,
            entity=settings.entity or "",
            project=settings.project,
            mode=Mode(settings.mode.value),
        )
        run_ids = [job.run_id for job in self._read(message, target)]
        mirrored = tuple(run for run_id in run_ids for run in self._mirror(message, run_id, target, key))
        said = "; ".join(filter(None, (run.command or run.url for run in mirrored)))
        return Delivered(receipt=said or "nothing to mirror", mirrored=mirrored)

    def _read(self, message: ClaimedMessage, target: Target) -> list[Job]:
        with self._sessions.begin() as session:
            project = projects.by_id(session, message.project_id)
            if project is None:
                return []
            # Offline a message is kept once however often it comes; online it brings what is true now, and messages
            # are neither committed nor delivered in the order of their ids.
            rev = message.id if target.mode is Mode.OFFLINE else clock.milliseconds(session)
            return jobs_of(session, message, project, rev=rev, address=self._address)

    def _mirror(
        self, message: ClaimedMessage, run_id: str, target: Target, key: str | None
    ) -> list[MirroredRun]:
        where = f"{urlsplit(target.base_url).netloc}/{target.entity}/{target.project}/{run_id}"
        # Two writers to one W&B run would lose a row, and other workers may have messages about the same one.
        with locks.alone(self._sessions, locks.key_of("wandb", where)) as is_ours:
            if not is_ours:
                raise ConnectionError(f"another worker is writing {run_id}")
            # Not before: what was read while another one wrote can be older than what stands there now.
            jobs = [job for job in self._read(message, target) if job.run_id == run_id]
            whole = [self._filled(message, job) for job in jobs]
            return [_mirrored(job, self._runner.run(job, target, key=key)) for job in whole]

    def _filled(self, message: ClaimedMessage, job: Job) -> Job:
        with self._sessions.begin() as session:
            return filled(session, job, project_id=message.project_id)


def _mirrored(job: Job, outcome: Outcome) -> MirroredRun:
    """What is worth keeping of a success.

    Raises:
        Paused, Refused, ConnectionError: It is none.
    """
    if outcome.state is State.PAUSED:
        raise Paused(outcome.reason, _LET_IN_AGAIN)
    if outcome.state is State.REFUSED:
        raise Refused(outcome.reason)
    if outcome.state in (State.RETRY, State.STALE):
        # Of what is newer than ours nobody knows here whether it is all that the message is about.
        raise ConnectionError(outcome.reason)
    charts: tuple[Bars | Lines | Histogram, ...] = (*job.bars, *job.lines, *job.histograms)
    return MirroredRun(
        run=job.run_id,
        name=job.name,
        url=outcome.url,
        directory=outcome.directory,
        command=outcome.command,
        tables=tuple(each.name for each in job.tables),
        charts=tuple(each.name for each in charts),
        images=tuple(each.name for each in job.pictures),
        alerts=tuple(each.title for each in job.alerts),
    )
