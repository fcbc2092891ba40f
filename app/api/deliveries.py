"""What is owed to sinks, what has arrived, what was given up."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query

from app.api.answers import Listing, listing
from app.api.dependencies import ActorDep, Now, PageDep, SessionDep, a_whole, cursor_of
from app.api.numbers import INT64_MAX
from app.api.router import a_router
from app.api.schemas import DiscardBody, Key
from app.api.sink_answers import DeliveryAnswer, delivery_answer
from app.db.deliveries import DeliveryState
from app.db.outbox import Topic
from app.services import deliveries

router = a_router("sinks")

DeliveryId = Annotated[int, Path(ge=1, le=INT64_MAX)]


@router.get("/projects/{project}/deliveries")
def list_deliveries(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    page: PageDep,
    state: Annotated[
        Literal["owed", "failing", "buried", "delivered"] | None,
        Query(
            description="`owed` is all that has not arrived yet, `failing` the part whose last try failed."
        ),
    ] = None,
    sink: Annotated[Key | None, Query(description="The name of a sink.")] = None,
    topic: Annotated[Topic | None, Query(description="What it is about.")] = None,
) -> Listing[DeliveryAnswer]:
    """Messages to sinks, newest first; delivered ones as long as the project's retention keeps them."""
    after = page.after_as(a_whole)
    rows = deliveries.list_deliveries(
        session,
        actor,
        project_key=project,
        limit=page.limit + 1,
        state=None if state is None else DeliveryState(state),
        sink=sink,
        topic=topic,
        before=None if after is None else after[0],
    )
    shown = rows[: page.limit]
    following = cursor_of(shown[-1].id) if len(rows) > page.limit else None
    return listing(map(delivery_answer, shown), following)


@router.post("/projects/{project}/deliveries/{delivery_id}/retry")
def retry_delivery(
    session: SessionDep, actor: ActorDep, project: str, delivery_id: DeliveryId, now: Now
) -> DeliveryAnswer:
    """Try it at once, buried or put off; a pause of its sink is over."""
    row = deliveries.retry_delivery(session, actor, project_key=project, delivery_id=delivery_id, now=now)
    return delivery_answer(row)


@router.post("/projects/{project}/deliveries/{delivery_id}/discard")
def discard_delivery(
    session: SessionDep, actor: ActorDep, project: str, delivery_id: DeliveryId, body: DiscardBody, now: Now
) -> DeliveryAnswer:
    """Never try it again; the audit trail keeps what it was. Answers what it was."""
    row = deliveries.discard_delivery(
        session, actor, project_key=project, delivery_id=delivery_id, reason=body.reason, now=now
    )
    return delivery_answer(row)
