"""Limits while training: asked with every block that arrives, for the metrics that a limit speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from app.db import Session, histories, policies, runs
from app.db.remembered import Remembered
from app.db.streams import StreamRow
from app.domain.alerts import AlertKind, Level
from app.domain.history import Series
from app.domain.policy import Policy, PolicyRule, Severity
from app.domain.sentences import number, shortened
from app.domain.training_limits import Breach, breach_of, limited_metrics, points_needed, rules_for
from app.services.run_alerts import raise_alert

if TYPE_CHECKING:
    from app.services.ingest import Arrival


def watch(session: Session, row: StreamRow, arrivals: Sequence[Arrival], *, now: datetime) -> None:
    """Raise an alert, once a run and rule, where points that have just been stored break a limit."""
    policy, limited = _limits_of(session, row.project_id, row.policy_version)
    if not limited:
        return
    for arrival in arrivals:
        for i, series in enumerate(arrival.block.series):
            if series.name not in limited:
                continue
            for rule in rules_for(policy, metric=series.name, group=series.group or None):
                values = arrival.block.values[i]
                breach = _breach(session, row, arrival, int(arrival.ids[i]), rule)
                if breach is not None:
                    step = int(arrival.block.steps[breach.at])
                    _tell(session, row, rule, series, float(values[breach.at]), step, breach, now)


# By project and version, which once committed never changes.
_known: Remembered[tuple[UUID, int], tuple[Policy, frozenset[str]]] = Remembered(most=1000)


def _limits_of(session: Session, project_id: UUID, version: int) -> tuple[Policy, frozenset[str]]:
    """The rules, and the metrics that any limit speaks of."""
    found = _known.get((project_id, version))
    if found is None:
        policy = policies.at(session, project_id, version)
        found = (policy, limited_metrics(policy))
        _known.put((project_id, version), found)
    return found


def _breach(
    session: Session, row: StreamRow, arrival: Arrival, series_id: int, rule: PolicyRule
) -> Breach | None:
    values = arrival.block.values[list(arrival.ids).index(series_id)]
    # A first look without the points before, which are only read where it could make a difference.
    if breach_of(rule, values, before=np.full(points_needed(rule) - 1, np.nan), had_met=True) is None:
        return None
    before, had_met = histories.just_before(
        session,
        project_id=row.project_id,
        run_id=row.run_id,
        attempt=row.attempt,
        series_id=series_id,
        before_idx=int(arrival.block.idx[0]),
        stream_id=row.id,
        limit=points_needed(rule) - 1,
        low=rule.min,
        high=rule.max,
    )
    return breach_of(rule, values, before=before, had_met=had_met)


def _tell(
    session: Session,
    row: StreamRow,
    rule: PolicyRule,
    series: Series,
    value: float,
    step: int,
    breach: Breach,
    now: datetime,
) -> None:
    run = runs.lock(session, project_id=row.project_id, run_id=row.run_id)
    if run is None:
        return
    side = (
        f"above {number(rule.max)}"
        if rule.max is not None and not value < rule.max
        else f"below {number(rule.min)}"
        if rule.min is not None
        else f"above {number(rule.max)}"
    )
    if not np.isfinite(value):
        side = "not finite"
    where = f"{series.name} in {series.group}" if series.group else series.name
    times = "1 point" if breach.points == 1 else f"{breach.points} points in a row"
    raise_alert(
        session,
        run,
        about=f"limit/{rule.metric}/{rule.scope}/{rule.max}/{rule.min}",
        kind=AlertKind.TRAINING_LIMIT,
        level=Level.ERROR if rule.severity is Severity.FAIL else Level.WARN,
        title=f"{shortened(run.key, 20)}: {shortened(where, 24)} {side}",
        text=f"{where} is {number(value)} at step {step}: {side} for {times}, during training",
        once=True,
        now=now,
    )
