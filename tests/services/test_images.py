from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from app.db import Session
from app.db.tables import run_image
from app.domain.batches import BatchDocument
from app.domain.images import MOST_IMAGES
from app.services.ingest import Taken, take_records
from tests.pictures import a_png
from tests.services.world import ADMIN, NOW, World, a_project, a_run, a_world

DATA = base64.b64encode(a_png()).decode()


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        a_project(world)
        yield world


def logging(run: UUID, count: int) -> Callable[[Session], Taken]:
    """That many images in a stream of their own."""
    records = [
        {"idx": idx, "type": "image", "time": NOW.timestamp(), "name": str(idx), "data": DATA}
        for idx in range(count)
    ]
    batch = BatchDocument(first=0, count=count, role="attach", other=records)
    stream = uuid4()
    return lambda session: take_records(session, ADMIN, run_id=run, stream_id=stream, document=batch, now=NOW)


def test_two_writers_at_once_do_not_get_beyond_what_a_run_keeps(world: World) -> None:
    run = a_run(world, "run").run_id

    first, second = world.behind(logging(run, MOST_IMAGES - 1), logging(run, 2))

    assert (first.rejected, second.rejected) == ({}, {1: "too_many_images"})
    with world.transaction() as session:
        assert session.execute(select(func.count()).select_from(run_image)).scalar_one() == MOST_IMAGES
