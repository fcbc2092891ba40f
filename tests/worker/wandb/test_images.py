"""Images that a training logged, from our database to what the W&B server holds."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db import session_factory
from app.db.projects import ProjectRow
from app.domain.batches import BatchDocument
from app.domain.evaluations import Purpose
from app.services.ingest import take_records
from app.worker.wandb_images import gallery_of
from app.worker.wandb_jobs.image_content import MOST_IMAGE_BYTES, Gallery, Shown, pictures
from app.worker.wandb_jobs.job import Picture, from_document, to_document
from app.worker.wandb_jobs.order import Mode
from app.worker.wandb_jobs.outcome import State
from app.worker.wandb_jobs.runner import Runner
from app.worker.wandb_jobs.values import run_id
from app.worker.wandb_sink import WandbSink
from tests.pictures import a_chunk, a_jpeg, a_png, an_unreadable_png
from tests.services.claims import BAD, a_post, a_suite, posted, posting
from tests.services.world import ADMIN, NOW, World, a_project, a_run
from tests.worker.owed import a_sink, claim
from tests.worker.wandb.jobs import a_small_job, a_target, leftovers
from tests.worker.wandb.logs import log_below
from tests.worker.wandb.standin import KEY, Standin

SPECTRUM, FIELD = a_png(5, 3), a_jpeg(6, 4)


def shown(name: str, *, caption: str = "", step: int | None = None) -> Shown:
    source = (UUID(int=1), UUID(int=2))
    return Shown(name=name, caption=caption, step=step, digest="00" * 32, extension="png", source=source)


def a_picture(name: str, data: bytes, extension: str = "png") -> Picture:
    digest = hashlib.sha256(data).hexdigest()
    return Picture(name=name, caption=name, digest=digest, extension=extension, data=data)


def test_a_name_becomes_a_key_that_can_be_sorted_by_and_stays_in_the_caption() -> None:
    found = pictures(
        [
            shown("energy spectrum", caption="k^-5/3", step=7),
            shown("energy_spectrum"),
            shown("../../x", step=0),
            shown("谱", caption="c" * 3_000),
        ]
    )

    keys = [each.name for each in found]
    assert keys[0] == "images/energy_spectrum"
    assert keys[1] == "images/energy_spectrum_" + hashlib.sha256(b"energy_spectrum").hexdigest()[:8]
    assert keys[2] == "images/______x"
    assert keys[3] == "images/_"
    assert [each.caption for each in found[:3]] == [
        "energy spectrum, step 7: k^-5/3",
        "energy_spectrum",
        "../../x, step 0",
    ]
    assert len(found[3].caption) == 2_000


def test_a_job_travels_without_the_data_of_its_pictures_and_is_another_with_other_pictures() -> None:
    job = a_small_job(pictures=(a_picture("images/a", SPECTRUM),))
    other = replace(job, pictures=(a_picture("images/a", FIELD),))

    again = from_document(to_document(job))

    assert (again, again.digest, again.pictures[0].data) == (job, job.digest, b"")
    assert len({job.digest, other.digest, a_small_job().digest}) == 3


def test_nothing_logged_says_nothing() -> None:
    assert Gallery().scalars == {}
    assert Gallery(logged=3, left_out=1).scalars == {"mirror/images_logged": 3, "mirror/images_left_out": 1}


def test_the_server_holds_images_byte_by_byte_and_only_those_that_can_be_drawn(
    runner: Runner, standin: Standin, place: Path
) -> None:
    job = a_small_job(
        pictures=(
            a_picture("images/spectrum", SPECTRUM),
            a_picture("images/field", FIELD, "jpg"),
            a_picture("images/broken", an_unreadable_png()),
        )
    )
    target = a_target(standin)

    outcome = runner.run(job, target, key=KEY)

    assert (outcome.state, outcome.reason) == (State.DELIVERED, "")
    held = standin.run("eval-1")
    for name, data, size in (("images/spectrum", SPECTRUM, (5, 3)), ("images/field", FIELD, (6, 4))):
        said = held.summary[name]
        assert held.files[said["path"]] == data
        assert (said["_type"], said["caption"], said["width"], said["height"]) == ("image-file", name, *size)
    assert "images/broken" not in held.summary
    assert held.summary["mirror/images_illegible"] == 1
    assert leftovers(place) == []

    assert runner.run(job, target, key=KEY).state is State.ALREADY
    held.files.pop(held.summary["images/field"]["path"])
    assert runner.run(job, target, key=KEY).state is State.DELIVERED
    assert held.files[held.summary["images/field"]["path"]] == FIELD


def test_an_offline_run_keeps_its_own_copy_of_an_image(runner: Runner, standin: Standin, place: Path) -> None:
    job = a_small_job(pictures=(a_picture("images/spectrum", SPECTRUM),))

    assert runner.run(job, a_target(standin, Mode.OFFLINE), key=None).state is State.KEPT_OFFLINE

    log, files = log_below(place)
    (row,) = log.history
    assert (files / row["images/spectrum\0path"]).read_bytes() == SPECTRUM
    assert [each for each in place.rglob("*.png") if not each.is_relative_to(files)] == []


@pytest.fixture
def project(world: World) -> ProjectRow:
    project = a_project(world)
    a_suite(world)
    return project


def log_images(world: World, run: UUID, *images: tuple[str, bytes, int | None]) -> None:
    records: list[dict[str, Any]] = [
        {
            "idx": idx,
            "type": "image",
            "time": NOW.timestamp() + idx,
            "name": name,
            "step": step,
            "caption": f"caption {idx}",
            "data": base64.b64encode(data).decode(),
        }
        for idx, (name, data, step) in enumerate(images)
    ]
    batch = BatchDocument(first=0, count=len(records), role="attach", other=records)

    def log(session: Any) -> Any:
        return take_records(session, ADMIN, run_id=run, stream_id=uuid4(), document=batch, now=NOW)

    assert world.run(log).rejected == {}


def test_the_latest_of_each_name_goes_along_up_to_the_evaluations_step(
    world: World, project: ProjectRow
) -> None:
    first = a_run(world, "first").run_id
    log_images(world, first, ("field", FIELD, 1), ("field", SPECTRUM, 2), ("loss", SPECTRUM, None))
    a_run(world, "first")
    log_images(world, first, ("field", FIELD, 1), ("late", FIELD, 9))

    def gallery(**until: int) -> tuple[list[tuple[str, int | None, str]], int]:
        found = world.run(lambda session: gallery_of(session, project_id=project.id, run_id=first, **until))
        return [(each.name, each.step, each.extension) for each in found.shown], found.logged

    assert gallery() == ([("field", 1, "jpg"), ("late", 9, "jpg"), ("loss", None, "png")], 5)
    assert gallery(attempt=2, step=8)[0] == [("field", 1, "jpg"), ("loss", None, "png")]
    assert gallery(attempt=1)[0] == [("field", 2, "png"), ("loss", None, "png")]
    assert gallery(attempt=1, step=1)[0] == [("field", 1, "jpg"), ("loss", None, "png")]
    assert gallery(attempt=1, step=0)[0] == [("loss", None, "png")]


def test_what_there_is_no_room_for_is_counted(world: World, project: ProjectRow) -> None:
    first = a_run(world, "first").run_id
    fill = a_chunk(b"tEXt", b"x" * 1_000_000)
    large = SPECTRUM[:-12] + fill + SPECTRUM[-12:]
    log_images(world, first, *((f"large {step}", large, step) for step in range(9)), ("small", SPECTRUM, 0))

    found = world.run(lambda session: gallery_of(session, project_id=project.id, run_id=first))

    assert MOST_IMAGE_BYTES // len(large) == 8
    # The latest ones have the room.
    assert [each.name for each in found.shown] == [*(f"large {step}" for step in range(1, 9)), "small"]
    assert (found.logged, found.left_out) == (10, 1)


def test_images_that_come_after_the_verdict_are_brought_to_it_and_to_the_summary(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    second = a_run(world, "second").run_id
    early = world.run(posting(second, a_post(BAD, step=3, purpose=Purpose.PROGRESS))).evaluation_id
    final = posted(world, second, BAD)
    # From here on: the verdicts were told before.
    a_sink(world, project.id, "mirror", kind="wandb", base_url=standin.url, project="flows")
    log_images(world, second, ("spectrum", SPECTRUM, 5), ("field", FIELD, 7))
    sink = WandbSink(session_factory(world.engine), runner, environ={"WANDB_API_KEY": KEY})

    (message,) = claim(world, kinds=("wandb",))
    delivered = sink.deliver(message)

    assert message.topic == "run.images"
    assert delivered is not None
    assert {each.run: each.images for each in delivered.mirrored} == dict.fromkeys(
        (f"eval-{final}", run_id("training-summary", str(second))), ("images/field", "images/spectrum")
    )
    names = {f"eval-{final}", run_id("training-summary", str(second))}
    assert set(standin.held.runs) == names
    assert f"eval-{early}" not in names
    for name in names:
        held = standin.run(name)
        assert held.files[held.summary["images/spectrum"]["path"]] == SPECTRUM
        assert held.files[held.summary["images/field"]["path"]] == FIELD
        assert held.summary["images/field"]["caption"] == "field, step 7: caption 1"
        assert held.summary["mirror/images_logged"] == 2
