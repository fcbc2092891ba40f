"""Images that trainings log; lists never read their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as insert_into
from sqlalchemy.orm import Session

from app.db.streams import StreamRow
from app.db.tables import run_image
from app.domain.history import LoggedImage
from app.domain.images import ImageType


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """An image without its bytes.

    Args:
        digest: SHA-256 of the bytes.
        size: How many there are.
    """

    id: UUID
    name: str
    caption: str
    attempt: int
    step: int | None
    at: datetime
    type: ImageType
    width: int
    height: int
    digest: bytes
    size: int


def insert(session: Session, row: StreamRow, images: Iterable[LoggedImage]) -> None:
    written = [
        {
            "project_id": row.project_id,
            "run_id": row.run_id,
            "id": uuid5(row.id, str(each.idx)),
            "stream_id": row.id,
            "idx": each.idx,
            "attempt": row.attempt,
            "at": datetime.fromtimestamp(each.time, UTC),
            "step": each.step,
            "name": each.name,
            "caption": each.caption,
            "content_type": each.image.type.value,
            "width": each.image.width,
            "height": each.image.height,
            "digest": hashlib.sha256(each.image.data).digest(),
            "data": each.image.data,
        }
        for each in images
    ]
    session.execute(insert_into(run_image), written)


def count(session: Session, *, project_id: UUID, run_id: UUID) -> int:
    query = select(func.count()).where(run_image.c.project_id == project_id, run_image.c.run_id == run_id)
    return session.execute(query).scalar_one()


def of_run(session: Session, *, project_id: UUID, run_id: UUID, name: str | None = None) -> list[ImageRow]:
    """The latest first: by attempt, then step, then time; those without a step last in their attempt."""
    query = (
        select(
            *(run_image.c[name] for name in _PLAIN),
            run_image.c.content_type.label("type"),
            func.octet_length(run_image.c.data).label("size"),
        )
        .where(run_image.c.project_id == project_id, run_image.c.run_id == run_id)
        .order_by(
            run_image.c.attempt.desc(),
            run_image.c.step.desc().nulls_last(),
            run_image.c.at.desc(),
            run_image.c.id,
        )
    )
    if name is not None:
        query = query.where(run_image.c.name == name)
    return [ImageRow(**{**row, "type": ImageType(row["type"])}) for row in session.execute(query).mappings()]


_PLAIN = ("id", "name", "caption", "attempt", "step", "at", "width", "height", "digest")


def bytes_of(
    session: Session, *, project_id: UUID, run_id: UUID, ids: Collection[UUID]
) -> dict[UUID, tuple[ImageType, bytes]]:
    """By id, those that there are."""
    query = select(run_image.c.id, run_image.c.content_type, run_image.c.data).where(
        run_image.c.project_id == project_id, run_image.c.run_id == run_id, run_image.c.id.in_(sorted(ids))
    )
    return {row.id: (ImageType(row.content_type), row.data) for row in session.execute(query)}
