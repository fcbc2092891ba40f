"""Images that a training has logged."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from app.api.answers import Answer, Listing
from app.api.dependencies import ActorDep, SessionDep
from app.api.router import a_router
from app.api.texts import checked_text
from app.domain.images import ImageType
from app.services import images

router = a_router("history")

# A browser shows it as what it is or not at all: whatever its bytes may also be, nothing in it runs.
_HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The same bytes for ever; whoever has no right any more may still see what he has seen.
    "Cache-Control": "private, max-age=31536000, immutable",
}
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_SERVED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image.", "content": {each.value: _BYTES for each in ImageType}}
}


class ImageAnswer(Answer):
    id: UUID
    name: str
    caption: str
    attempt: int
    step: int | None
    at: datetime
    content_type: str
    width: int
    height: int
    size_bytes: int
    # SHA-256, in hexadecimal digits.
    digest: str


@router.get("/runs/{run_id}/images")
def list_images(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    name: Annotated[str | None, Query(max_length=256, description="Only those of this name.")] = None,
) -> Listing[ImageAnswer]:
    """What `run.log_image(…)` has logged, the latest step first; a run keeps 50."""
    wanted = None if name is None else checked_text(name, "name")
    found = images.images_of(session, actor, run_id=run_id, name=wanted)
    return Listing(
        items=[
            ImageAnswer(
                id=each.id,
                name=each.name,
                caption=each.caption,
                attempt=each.attempt,
                step=each.step,
                at=each.at,
                content_type=each.type.value,
                width=each.width,
                height=each.height,
                size_bytes=each.size,
                digest=each.digest.hex(),
            )
            for each in found
        ]
    )


@router.get("/runs/{run_id}/images/{image_id}", response_class=Response, responses=_SERVED)
def show_image(session: SessionDep, actor: ActorDep, run_id: UUID, image_id: UUID) -> Response:
    """The image itself, a PNG or a JPEG."""
    type_, data = images.image_bytes(session, actor, run_id=run_id, image_id=image_id)
    name = f'inline; filename="{image_id}.{type_.extension}"'
    return Response(data, media_type=type_.value, headers={**_HARMLESS, "Content-Disposition": name})
