"""Which of a run's images go to W&B: the latest of each name, as many as there is room for."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from app.db import Session, images
from app.db.images import ImageRow
from app.worker.wandb_jobs.image_content import MOST_IMAGE_BYTES, Gallery, Shown
from app.worker.wandb_jobs.job import Job


def gallery_of(
    session: Session, *, project_id: UUID, run_id: UUID, attempt: int | None = None, step: int | None = None
) -> Gallery:
    """The latest of each name.

    Args:
        attempt, step: Only of attempts up to that one, and only up to that step of it; images without a step always.
    """
    rows = images.of_run(session, project_id=project_id, run_id=run_id)
    latest: dict[str, ImageRow] = {}
    for row in rows:
        if _is_in_time(row, attempt, step):
            latest.setdefault(row.name, row)
    wanted, size = [], 0
    for row in latest.values():
        if size + row.size <= MOST_IMAGE_BYTES:
            wanted.append(row)
            size += row.size
    return Gallery(
        shown=tuple(
            Shown(
                name=row.name,
                caption=row.caption,
                step=row.step,
                digest=row.digest.hex(),
                extension=row.type.extension,
                source=(run_id, row.id),
            )
            for row in sorted(wanted, key=lambda row: row.name)
        ),
        logged=len(rows),
        left_out=len(latest) - len(wanted),
    )


def filled(session: Session, job: Job, *, project_id: UUID) -> Job:
    """The job with its images' data, which no other than the one that is sent right now has to hold."""
    sources = [each.source for each in job.pictures if each.source is not None]
    data = {
        image: content
        for run in {run for run, _ in sources}
        for image, (_, content) in images.bytes_of(
            session, project_id=project_id, run_id=run, ids=[image for of, image in sources if of == run]
        ).items()
    }
    pictures = tuple(
        replace(each, data=data[each.source[1]])
        for each in job.pictures
        # Retention may have taken it since it was listed.
        if each.source is not None and each.source[1] in data
    )
    return replace(job, pictures=pictures)


def _is_in_time(row: ImageRow, attempt: int | None, step: int | None) -> bool:
    if attempt is not None and row.attempt > attempt:
        return False
    return step is None or row.step is None or row.step <= step
