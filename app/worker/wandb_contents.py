"""What the database knows of a message's subject, as jobs for W&B: read in one transaction, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.db import Session, alerts, evaluations, leaderboards, runs, sinks, suites
from app.db.evaluations import EvaluationRow
from app.db.leaderboards import BoardItem, Rows
from app.db.outbox import ClaimedMessage, Topic
from app.db.projects import ProjectRow
from app.db.runs import RunRow
from app.db.suites import SuiteRow
from app.domain.alerts import AlertDraft, State, drafts_from
from app.domain.evaluations import OVERALL, Bound, Purpose
from app.domain.metrics import Metric
from app.domain.suites import Suite, cell_digest, suite_from_document
from app.services import training_tables
from app.services.evaluations import verdict_of
from app.services.notices import champion_of
from app.worker.wandb_images import gallery_of
from app.worker.wandb_jobs.board_content import BoardRow, board_job
from app.worker.wandb_jobs.evaluation_content import Judged, evaluation_job
from app.worker.wandb_jobs.job import Job
from app.worker.wandb_jobs.training_content import training_job
from app.worker.wandb_jobs.trial_content import trial_job

# Of each board; a table of W&B holds a thousand rows.
MOST_OF_A_BOARD = 200
_MOST_EVALUATIONS = 10
_MACRO = "macro"


def jobs_of(
    session: Session, message: ClaimedMessage, project: ProjectRow, *, rev: int, address: str | None
) -> list[Job]:
    """One job for each W&B run that the message changes; none where W&B shows nothing of it.

    Args:
        rev: Of what is read later it is the greater.
        address: The service's own, for links to its pages.
    """
    reading = _Reading(session=session, project=project, rev=rev, address=address or "")
    said, topic = message.payload, message.topic
    if topic in (Topic.LEADERBOARD_CHANGED, Topic.BASELINE_MOVED):
        return [reading.boards()]
    if topic == Topic.EVALUATION_JUDGED:
        row = evaluations.by_id(session, project_id=project.id, evaluation_id=UUID(said["evaluation"]))
        return [] if row is None else [reading.evaluation(row), reading.training(row.run_id)]
    if topic == Topic.RUN_VALIDITY:
        return [reading.evaluation(row) for row in reading.marked(said)]
    if topic == Topic.RUN_IMAGES:
        run_id = UUID(said["run"])
        rows = reading.shown_with(run_id, said["first_step"])
        return [reading.training(run_id), *(reading.evaluation(row) for row in rows)]
    if topic == Topic.ALERT_CHANGED:
        return reading.of_alert(UUID(said["alert"]))
    if topic == Topic.SINK_TESTED:
        return [reading.trial(message)]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    session: Session
    project: ProjectRow
    rev: int
    address: str

    def boards(self) -> Job:
        known = {row.id: row for row in suites.every_newest(self.session, project_id=self.project.id)}
        rows = [
            row
            for suite_id, stage in sinks.boards(self.session, self.project.id)
            for row in self._board(known[suite_id], stage)
        ]
        return board_job(
            project=self.project.key,
            rows=rows,
            page=self._page(f"projects/{self.project.key}"),
            rev=self.rev,
        )

    def evaluation(self, row: EvaluationRow) -> Job:
        evaluation = evaluations.load(self.session, project_id=self.project.id, ids=[row.id])[row.id]
        suite = suites.load_suite(self.session, self.project.id, row.suite_id, row.suite_version)
        verdict = verdict_of(self.session, self.project.id, row.id)
        run = self._run(row.run_id)
        is_claim = row.purpose == Purpose.CANDIDATE.value
        newest = suites.newest(self.session, project_id=self.project.id, key=suite.key)
        entries = [] if newest is None or not is_claim else self._board(newest, row.stage)
        return evaluation_job(
            Judged(
                project=self.project.key,
                evaluation=evaluation,
                suite=suite,
                stage=row.stage,
                wandb_group=group_of(run),
                verdict=verdict,
                policy_version=None,
                baseline=champion_of(self.session, self.project.id, row.id) or "",
                entries=tuple(entry for entry in entries if entry.run == run.key),
                ttc=tuple(
                    training_tables.selections_of_run(self.session, project_id=self.project.id, run_id=run.id)
                ),
                gallery=gallery_of(
                    self.session,
                    project_id=self.project.id,
                    run_id=run.id,
                    attempt=row.attempt,
                    step=row.step,
                ),
                alerts=drafts_from(verdict, run.key, suite.key, row.stage) if is_claim else (),
                tags=tuple(run.tags),
                page=self._page(f"projects/{self.project.key}/runs/{run.key}"),
            ),
            rev=self.rev,
        )

    def training(self, run_id: UUID, *drafts: AlertDraft) -> Job:
        run = self._run(run_id)
        return training_job(
            run=str(run.id),
            run_name=run.key,
            wandb_group=group_of(run),
            stages=training_tables.stages_of_run(self.session, project_id=self.project.id, run_id=run.id),
            configuration=dict(run.config),
            alerts=drafts,
            gallery=gallery_of(self.session, project_id=self.project.id, run_id=run.id),
            page=self._page(f"projects/{self.project.key}/runs/{run.key}"),
            rev=self.rev,
            tags=tuple(run.tags),
        )

    def trial(self, message: ClaimedMessage) -> Job:
        return trial_job(
            project=self.project.key,
            sink=message.sink,
            by=str(message.payload["by"]),
            asked=message.created_at,
            page=self._page(f"projects/{self.project.key}"),
            rev=self.rev,
        )

    def marked(self, said: Mapping[str, Any]) -> list[EvaluationRow]:
        """The evaluations that were marked, or the newest of a run that was."""
        project_id = self.project.id
        if said["evaluation"] is not None:
            wanted = UUID(said["evaluation"])
            row = evaluations.by_id(self.session, project_id=project_id, evaluation_id=wanted)
            return [] if row is None else [row]
        return evaluations.newest_of_run(
            self.session, project_id=project_id, run_id=UUID(said["run"]), limit=_MOST_EVALUATIONS
        )

    def shown_with(self, run_id: UUID, first_step: int | None) -> list[EvaluationRow]:
        """The run's newest evaluations of any purpose that images from that step on may belong to."""
        rows = evaluations.newest_of_run(
            self.session,
            project_id=self.project.id,
            run_id=run_id,
            limit=_MOST_EVALUATIONS,
            purposes=tuple(Purpose),
        )
        return [row for row in rows if row.step is None or first_step is None or row.step >= first_step]

    def of_alert(self, alert_id: UUID) -> list[Job]:
        """An alert about the training itself; those about an evaluation go with it."""
        row = alerts.everywhere(self.session, alert_id)
        if row is None or row.evaluation_id is not None or row.alert.state is not State.OPEN:
            return []
        draft = AlertDraft(
            kind=row.alert.kind, level=row.alert.level, title=row.alert.title, lines=row.alert.lines
        )
        return [self.training(row.run_id, draft)]

    def _board(self, row: SuiteRow, stage: str) -> list[BoardRow]:
        """Each metric that is ranked, by its overall, or by its macro mean where it has none."""
        suite = suite_from_document(row.key, row.version, row.document, row.frozen_weights)
        found: list[BoardRow] = []
        for metric in suite.metrics:
            if metric.direction is not None:
                group, items = self._ranked(row, suite, stage, metric)
                found += [self._row(row.key, stage, metric.name, group, item) for item in items]
        return found

    def _ranked(self, row: SuiteRow, suite: Suite, stage: str, metric: Metric) -> tuple[str, list[BoardItem]]:
        for group in (OVERALL, _MACRO):
            cell = cell_digest(suite, metric.name, group)
            items = (
                []
                if cell is None
                else leaderboards.page(
                    self.session,
                    project_id=self.project.id,
                    suite_id=row.id,
                    stage=stage,
                    cell=cell,
                    rows=Rows.RUNS,
                    ineligible=True,
                    limit=MOST_OF_A_BOARD,
                )
            )
            if items:
                return group, items
        return OVERALL, []

    def _row(self, suite: str, stage: str, metric: str, group: str, item: BoardItem) -> BoardRow:
        return BoardRow(
            suite=suite,
            stage=stage,
            metric=metric,
            group=group,
            rank=item.rank,
            run=item.run_key,
            value=item.value,
            bound=Bound(item.bound),
            n=item.n,
            worst=item.worst,
            gate=item.gate,
            eligible=item.eligible,
            remark=item.reason or "",
            tags=tuple(item.tags),
            evaluated=item.created_at,
            page=self._page(f"projects/{self.project.key}/runs/{item.run_key}"),
        )

    def _run(self, run_id: UUID) -> RunRow:
        run = runs.by_id(self.session, run_id)
        if run is None:
            raise LookupError(f"run {run_id} was removed this moment")
        return run

    def _page(self, path: str) -> str:
        return f"{self.address.rstrip('/')}/{path}" if self.address else path


def group_of(run: RunRow) -> str:
    """The W&B group of what is mirrored of a run: its training's own W&B run, where the client saw one."""
    noted = run.environment.get("wandb")
    name = noted.get("id") if isinstance(noted, Mapping) else None
    return name if isinstance(name, str) and name else run.key
