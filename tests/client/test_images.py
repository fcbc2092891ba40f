from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService
from tests.client.fake_streams import Stream
from tests.client.test_bounds import a_recorder
from tests.pictures import a_jpeg, a_png
from truerun.images import MOST_BYTES, MOST_IMAGES, Raster, png
from truerun.points import Other
from truerun.recorder import MOST_QUEUED_NUMBERS
from truerun.runs import Run
from truerun.store import MOST_MEMORY_BYTES, SEAL_BYTES, Store

FIELD = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.stack([FIELD, FIELD[::-1], FIELD.T], axis=2)
CLEAR = np.dstack([COLOURS, FIELD])


def a_run(service: FakeService, **more: Any) -> Run:
    return truerun.init("burgers", run_key="run", url=service.url, token=PROJECT_TOKEN, **more)


def the_stream(service: FakeService) -> Stream:
    (stream,) = service.streams.values()
    return stream


def images(service: FakeService) -> list[dict[str, Any]]:
    return the_stream(service).others("image")


def data_of(record: dict[str, Any]) -> bytes:
    return base64.b64decode(record["data"], validate=True)


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_pixels_arrive_as_png_whatever_holds_them(service: FakeService) -> None:
    given = {
        "grey": (FIELD, FIELD),
        "one channel": (FIELD[:, :, None], FIELD),
        "colours": (COLOURS, COLOURS),
        "with alpha": (CLEAR, CLEAR),
        "every other pixel": (COLOURS[::2, ::-2], COLOURS[::2, ::-2]),
        "by column": (np.asfortranarray(COLOURS), COLOURS),
        "wide": (FIELD[:1], FIELD[:1]),
        "PIL grey": (Image.fromarray(FIELD), FIELD),
        "PIL colours": (Image.fromarray(COLOURS), COLOURS),
        "PIL one bit": (Image.new("1", (3, 2), 1), np.full((2, 3, 3), 255)),
        "PIL palette": (Image.fromarray(COLOURS).quantize(256), None),
    }
    run = a_run(service, strict=True)
    for name, (image, _) in given.items():
        run.log_image(name, image)
    run.finish()

    found = {record["name"]: pixels(data_of(record)) for record in images(service)}
    assert list(found) == list(given)
    for name, (_, expected) in given.items():
        if expected is not None:
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
    assert found["PIL palette"].shape == (16, 16, 3)


def test_files_and_bytes_arrive_as_they_are_with_what_was_said_of_them(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "spectrum.png"
    path.write_bytes(a_png(5, 3))
    run = a_run(service, strict=True)
    run.log_image("spectrum", path, step=3, caption="k^-5/3")
    # The next figure is often saved under the same name.
    path.write_bytes(a_jpeg())
    run.log_image("as text", str(path))
    run.log({"loss": 1.0}, step=7)
    truerun.log_image("bytes", a_png(6, 4))
    run.log_image("buffer", bytearray(a_png(6, 4)), step=0)
    run.finish()

    found = images(service)
    assert [(each["name"], each["step"], each["caption"]) for each in found] == [
        ("spectrum", 3, "k^-5/3"),
        ("as text", None, ""),
        ("bytes", 7, ""),
        ("buffer", 0, ""),
    ]
    assert [data_of(each) for each in found] == [a_png(5, 3), a_jpeg(), a_png(6, 4), a_png(6, 4)]


def test_what_the_caller_changes_afterwards_does_not_travel(service: FakeService) -> None:
    field, picture = FIELD.copy(), Image.fromarray(FIELD.copy())
    run = a_run(service, strict=True)
    run.log_image("array", field)
    run.log_image("PIL", picture)
    field[:] = 0
    picture.paste(0, (0, 0, 16, 16))
    run.finish()

    for record in images(service):
        np.testing.assert_array_equal(pixels(data_of(record)), FIELD)


@pytest.mark.parametrize(
    ("name", "image", "said"),
    [
        pytest.param("a", b"<svg/>", "neither PNG nor JPEG", id="other bytes"),
        pytest.param("a", "nowhere.png", "FileNotFoundError", id="no file"),
        pytest.param("a", os.devnull, "is no file", id="a device"),
        pytest.param("a", a_png() + bytes(MOST_BYTES), "1,024 KiB", id="large bytes"),
        pytest.param("a", np.zeros((2000, 2000, 3), np.uint8), "make it smaller", id="large array"),
        pytest.param("a", Image.new("L", (4000, 4000)), "make it smaller", id="large PIL image"),
        pytest.param("a", np.zeros((4, 4)), "uint8", id="floats"),
        pytest.param("a", np.zeros((4, 4), bool), "uint8", id="flags"),
        pytest.param("a", np.zeros(4, np.uint8), "shape \\(4,\\)", id="a line"),
        pytest.param("a", np.zeros((3, 4, 5), np.uint8), "shape \\(3, 4, 5\\)", id="channels first"),
        pytest.param("a", np.zeros((0, 4), np.uint8), "shape \\(0, 4\\)", id="nothing"),
        pytest.param("a", object(), "not object", id="anything"),
        pytest.param("", FIELD, "an image's name", id="no name"),
        pytest.param("two\nlines", FIELD, "an image's name", id="a name of two lines"),
    ],
)
def test_what_is_no_image_is_dropped_says_why_and_the_training_goes_on(
    service: FakeService, caplog: pytest.LogCaptureFixture, name: str, image: Any, said: str
) -> None:
    run = a_run(service)
    run.log_image(name, image)
    run.log({"loss": 1.0})
    run.finish()

    (line,) = [each.getMessage() for each in caplog.records if "log_image" in each.getMessage()]
    assert said.replace("\\", "") in line
    assert images(service) == []
    assert the_stream(service).values("loss") == [(0, 1.0)]


def test_pixels_that_do_not_pack_leave_a_gap_that_says_why(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1100, 1000), dtype=np.uint8)
    run = a_run(service)
    run.log({"loss": 1.0})
    run.log_image("noise", noise)
    run.log({"loss": 2.0})
    run.finish()

    stream = the_stream(service)
    assert stream.gaps == [(1, 2, "image_too_large")]
    assert [value for _, value in stream.values("loss")] == [1.0, 2.0]
    assert "more than 1 MiB" in caplog.text


def test_of_a_run_fifty_travel(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    run = a_run(service)
    for at in range(MOST_IMAGES + 3):
        run.log_image("field", FIELD, step=at)
    run.log_image("no image", b"", step=99)
    run.finish()
    run.log_image("field", FIELD)

    assert [each["step"] for each in images(service)] == list(range(MOST_IMAGES))
    assert "keeps 50 images" in caplog.text
    assert "log_image() after the end" in caplog.text


def test_a_queue_that_nobody_empties_is_bounded_by_the_pixels_in_it() -> None:
    recorder = a_recorder()
    large = Raster(1000, 1000, 1, bytes(10**6))
    for step in range(20):
        recorder.put_image({"type": "image", "name": "field", "step": step}, large)
    assert len(recorder._queue) == MOST_QUEUED_NUMBERS * 32 // 10**6 + 1
    recorder.start()
    assert recorder.flush(20)
    recorder.put_image({"type": "image", "name": "field", "step": 20}, large)
    assert recorder.flush(20)
    recorder.abandon()

    records = recorder._store.read(0, most_records=100, most_bytes=2**30)
    kinds = [each.document["type"] for each in records if isinstance(each, Other)]
    assert kinds == ["image"] * 9 + ["gap", "image"]


def an_image(idx: int, size: int = MOST_BYTES) -> Other:
    return Other(idx, {"type": "image", "data": "A" * size})


def test_a_batch_of_images_stays_below_its_bytes_and_survives_the_process(tmp_path: Path) -> None:
    directory = tmp_path / "01998f6e-3d6c-7b5e-8f4d-1a2b3c4d5e6f"
    store = Store.leftover(directory, lambda *_: None)
    written = [an_image(idx) for idx in range(10)]
    store.append(written, now=0.0)

    again = Store.leftover(directory, lambda *_: None)

    batch = again.read(0, most_records=100, most_bytes=4 * 2**20)
    assert [each.idx for each in batch] == [0, 1, 2]
    assert again.read(0, most_records=100, most_bytes=2**30) == written


def test_where_memory_is_all_there_is_the_oldest_images_go_before_any_event() -> None:
    store = Store(None, a_recorder().stream_id, lambda *_: None)
    event = Other(0, {"type": "event", "title": "kept"})
    store.append([event], now=0.0)
    for idx in range(1, 31):
        store.append([an_image(idx)], now=0.0)

    assert store.held_bytes <= MOST_MEMORY_BYTES + 2 * SEAL_BYTES
    found = store.read(0, most_records=100, most_bytes=2**30)
    assert (found[0], found[-1].idx) == (event, 30)
    assert {reason for _, _, reason in store.lost} == {"memory_full"}


def test_a_png_of_ours_is_what_everybody_reads() -> None:
    data = png(Raster(2, 1, 3, bytes([255, 0, 0, 0, 0, 255])))

    image = Image.open(io.BytesIO(data))
    image.verify()
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (2, 1))
    assert pixels(data).tolist() == [[[255, 0, 0], [0, 0, 255]]]
