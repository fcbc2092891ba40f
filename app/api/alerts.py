"""The inbox: what a person must see."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from app.api.answers import AlertAnswer, Listing, listing
from app.api.dependencies import ActorDep, Now, PageDep, SessionDep, a_text, a_time, cursor_of
from app.api.router import a_router
from app.api.schemas import EditAlert
from app.db import alerts as db
from app.db.alerts import AlertRow
from app.domain.access import Action
from app.domain.alerts import State
from app.domain.record import line_to_document
from app.errors import InvalidInput
from app.services import alerts, projects

router = a_router("alerts")
_STANDING = (State.OPEN, State.ACKNOWLEDGED, State.MUTED)


@router.get("/projects/{project}/alerts")
def list_alerts(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    page: PageDep,
    state: Literal["standing", "open", "acknowledged", "muted", "resolved", "all"] = "standing",
) -> Listing[AlertAnswer]:
    """Alerts by last change, newest first; without `state` those not resolved."""
    row = projects.project_for(session, actor, key=project, action=Action.PROJECT_READ)
    after = page.after_as(a_time, lambda value: UUID(a_text(value)))
    states = {"standing": _STANDING, "all": tuple(State)}.get(state) or (State(state),)
    rows = db.page(
        session,
        project_id=row.id,
        states=states,
        limit=page.limit + 1,
        after=None if after is None else (after[0], after[1]),
    )
    shown = rows[: page.limit]
    following = (
        cursor_of(shown[-1].alert.updated_at.isoformat(), shown[-1].id) if len(rows) > page.limit else None
    )
    return listing(map(_answer, shown), following)


@router.patch("/alerts/{alert_id}")
def change_alert(
    session: SessionDep, actor: ActorDep, alert_id: UUID, body: EditAlert, now: Now
) -> AlertAnswer:
    """Acknowledge, mute until a time, resolve or open again."""
    if body.until is not None and body.until.tzinfo is None:
        raise InvalidInput("needs a time zone: 2026-12-01T00:00:00Z", field="until")
    row = alerts.change_alert(
        session,
        actor,
        alert_id=alert_id,
        state=State(body.state),
        until=body.until,
        reason=body.reason,
        now=now,
    )
    return _answer(row)


def _answer(row: AlertRow) -> AlertAnswer:
    state = row.alert
    return AlertAnswer(
        id=row.id,
        kind=state.kind,
        level=state.level,
        title=state.title,
        state=state.state,
        suite=row.suite_key,
        stage=row.stage,
        subject=row.subject,
        run=row.run_key,
        run_id=row.run_id,
        evaluation=row.evaluation_id,
        lines=[line_to_document(line) for line in state.lines],
        count=state.count,
        opened_at=state.opened_at,
        updated_at=state.updated_at,
        resolved_at=state.resolved_at,
        changed_by=state.changed_by,
        reason=state.reason,
        muted_until=state.muted_until,
    )
