"""What a message of the outbox is to people: the words for it, who wants them, whether they are news."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.db import Session, alerts, assessments, baselines, evaluations, projects, runs, suites, told
from app.db.outbox import ClaimedMessage, Topic
from app.db.projects import ProjectRow
from app.domain.alerts import AlertKind, Level, State
from app.domain.notices import (
    OPT_IN,
    Notice,
    NoticeKind,
    digest,
    from_alert,
    from_improvement,
    from_move,
    from_stuck,
    from_test,
)
from app.domain.outcomes import Gate, Outcome
from app.domain.sinks import Route, wanted_by

_MOST_AT_ONCE = 200
_ORDER = {Level.INFO: 0, Level.WARN: 1, Level.ERROR: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a sink tells.

    Args:
        cooldown: For how long the same news is not told again, unless its level rises.
        digest_from: So many alerts that are owed at once are told as one; None: never.
        address: The service's own address, for links; None where it does not know it.
    """

    routes: Sequence[Route] = ()
    cooldown: timedelta = timedelta(0)
    digest_from: int | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What is to be told now.

    Args:
        subjects: What is thereby told, with the level it was told at.
    """

    notice: Notice
    project_id: UUID
    sink: str
    subjects: Mapping[str, Level]

    def note(self, session: Session) -> None:
        """It was told; write it down as soon as the receiver has it."""
        told.note(session, project_id=self.project_id, sink=self.sink, subjects=self.subjects)


def notice_for(session: Session, message: ClaimedMessage, manner: Manner) -> Telling | str:
    """What to tell because of a message, or why nothing."""
    project = projects.by_id(session, message.project_id)
    if project is None:
        return "the project is gone"
    notice = _notice(session, message, project, manner)
    if notice is None:
        return "nothing to tell"
    if not _is_wanted(notice, manner):
        return "no route wants it"
    if message.topic == Topic.ALERT_CHANGED and manner.digest_from is not None:
        many = _owed(session, message, project, manner)
        if len(many) >= manner.digest_from:
            fresh = _news(session, message, many, manner)
            if not fresh:
                return "told already"
            link = _link(manner, f"/projects/{project.key}/alerts")
            return Telling(
                notice=digest(fresh, link=link) if len(fresh) > 1 else fresh[0],
                project_id=message.project_id,
                sink=message.sink,
                subjects={each.subject: each.level for each in fresh},
            )
    if not _news(session, message, [notice], manner):
        return "told already"
    return Telling(
        notice=notice,
        project_id=message.project_id,
        sink=message.sink,
        subjects={notice.subject: notice.level},
    )


def _is_wanted(notice: Notice, manner: Manner) -> bool:
    if notice.kind is NoticeKind.TEST:
        return True
    routes = manner.routes
    if notice.kind in OPT_IN:
        routes = [route for route in routes if notice.kind in route.kinds]
        if not routes:
            return False
    return wanted_by(routes, level=notice.level, kind=notice.kind, suite=notice.suite, groups=notice.groups)


def _news(
    session: Session, message: ClaimedMessage, notices: Sequence[Notice], manner: Manner
) -> list[Notice]:
    """Those that were not told within the cool-down, or are worse than when they were."""
    if not manner.cooldown:
        return list(notices)
    known = told.lately(
        session,
        project_id=message.project_id,
        sink=message.sink,
        subjects={notice.subject for notice in notices},
        within=manner.cooldown,
    )
    return [
        notice
        for notice in notices
        if notice.subject not in known or _ORDER[notice.level] > _ORDER[known[notice.subject].level]
    ]


def _owed(session: Session, message: ClaimedMessage, project: ProjectRow, manner: Manner) -> list[Notice]:
    """Of all alerts that the sink owes news of, those that are open and wanted."""
    owed = told.owed_alerts(session, message, limit=_MOST_AT_ONCE)
    found = [_of_alert(session, alert_id, project, manner) for alert_id in owed]
    return [notice for notice in found if notice is not None and _is_wanted(notice, manner)]


def _notice(session: Session, message: ClaimedMessage, project: ProjectRow, manner: Manner) -> Notice | None:
    said = message.payload
    if message.topic == Topic.ALERT_CHANGED:
        return _of_alert(session, UUID(said["alert"]), project, manner)
    if message.topic == Topic.BASELINE_MOVED:
        return _of_move(session, said, project, manner)
    if message.topic == Topic.EVALUATION_JUDGED:
        return _of_improvement(session, said, project, manner)
    if message.topic == Topic.SINK_STUCK:
        return from_stuck(
            sink=str(said["sink"]),
            reason=str(said["reason"]),
            project=project.key,
            link=_link(manner, f"/projects/{project.key}/deliveries"),
        )
    if message.topic == Topic.SINK_TESTED:
        return from_test(
            message=message.id,
            by=str(said["by"]),
            sink=message.sink,
            project=project.key,
            link=_link(manner, f"/projects/{project.key}/deliveries"),
        )
    return None


def _of_alert(session: Session, alert_id: UUID, project: ProjectRow, manner: Manner) -> Notice | None:
    row = alerts.everywhere(session, alert_id)
    # As it stands now: what was acknowledged, muted or resolved since the message was written is no news any more.
    if row is None or row.project_id != project.id or row.alert.state is not State.OPEN:
        return None
    # The move itself is told, each one; its alert waits in the inbox.
    if row.alert.kind is AlertKind.OVERRIDE:
        return None
    return from_alert(
        row.alert,
        subject=f"alert:{row.id}",
        project=project.key,
        suite=row.suite_key,
        stage=row.stage,
        run=row.run_key,
        champion=None if row.evaluation_id is None else champion_of(session, project.id, row.evaluation_id),
        link=_link(manner, f"/projects/{project.key}/runs/{row.run_key}"),
    )


def champion_of(session: Session, project_id: UUID, evaluation_id: UUID) -> str | None:
    """The run that the evaluation was measured against, and as which version."""
    assessment = assessments.newest_row(session, project_id=project_id, evaluation_id=evaluation_id)
    if assessment is None or assessment.baseline_evaluation_id is None:
        return None
    row = evaluations.by_id(session, project_id=project_id, evaluation_id=assessment.baseline_evaluation_id)
    run = None if row is None else runs.by_id(session, row.run_id)
    return None if run is None else f"{run.key} (version {assessment.baseline_version})"


def _of_move(
    session: Session, said: Mapping[str, object], project: ProjectRow, manner: Manner
) -> Notice | None:
    suite_id, stage, version = UUID(str(said["suite"])), str(said["stage"]), int(str(said["version"]))
    event = baselines.event_at(
        session, project_id=project.id, suite_id=suite_id, stage=stage, version=version
    )
    key = next(
        (row.key for row in suites.every_newest(session, project_id=project.id) if row.id == suite_id), ""
    )
    sentence = event.detail.get("sentence")
    return from_move(
        event.kind,
        version=version,
        run=event.run_key,
        previous=event.previous_run_key,
        gate=event.gate,
        sentence=sentence if isinstance(sentence, str) else None,
        actor=event.actor,
        reason=event.reason,
        project=project.key,
        suite=key,
        stage=stage,
        link=_link(manner, f"/projects/{project.key}/suites/{key}"),
    )


def _of_improvement(
    session: Session, said: Mapping[str, object], project: ProjectRow, manner: Manner
) -> Notice | None:
    """Only where some route asks for it: most evaluations are no news."""
    if (
        not any(NoticeKind.IMPROVEMENT in route.kinds for route in manner.routes)
        or said["gate"] != Gate.OPEN.value
    ):
        return None
    evaluation_id = UUID(str(said["evaluation"]))
    row = evaluations.by_id(session, project_id=project.id, evaluation_id=evaluation_id)
    assessment = assessments.newest_row(session, project_id=project.id, evaluation_id=evaluation_id)
    if row is None or assessment is None or assessment.number != said["assessment"]:
        return None
    verdict = assessments.load_verdict(
        session, project_id=project.id, evaluation_id=evaluation_id, number=assessment.number
    )
    improved = [check for check in verdict.checks if check.outcome is Outcome.IMPROVED]
    run = runs.by_id(session, row.run_id)
    if not improved or run is None:
        return None
    suite = suites.load_suite(session, project.id, row.suite_id, row.suite_version)
    return from_improvement(
        improved,
        sentence=verdict.sentence,
        evaluation=str(evaluation_id),
        champion=champion_of(session, project.id, evaluation_id),
        project=project.key,
        suite=suite.key,
        stage=row.stage,
        run=run.key,
        link=_link(manner, f"/projects/{project.key}/runs/{run.key}"),
    )


def _link(manner: Manner, path: str) -> str | None:
    return None if manner.address is None else f"{manner.address.rstrip('/')}{path}"
