"""Images that a training has logged, for whoever may see its run."""

from __future__ import annotations

from uuid import UUID

from app.db import Session
from app.db import images as db
from app.db.images import ImageRow
from app.domain.access import Action, Actor
from app.domain.images import ImageType
from app.errors import NotFound
from app.services.runs import run_for


def images_of(session: Session, actor: Actor, *, run_id: UUID, name: str | None = None) -> list[ImageRow]:
    """The latest first."""
    run = run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    return db.of_run(session, project_id=run.project_id, run_id=run.id, name=name)


def image_bytes(session: Session, actor: Actor, *, run_id: UUID, image_id: UUID) -> tuple[ImageType, bytes]:
    """The image itself.

    Raises:
        NotFound: The run has no such image.
    """
    run = run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    found = db.bytes_of(session, project_id=run.project_id, run_id=run.id, ids=[image_id])
    if image_id not in found:
        raise NotFound(f"run {run.key} has no image {image_id}; `GET /runs/{run.id}/images` lists them")
    return found[image_id]
