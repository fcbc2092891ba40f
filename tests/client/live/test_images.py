from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

import truerun
from tests.client.live.service import Live
from tests.pictures import a_jpeg, a_png


def test_images_of_more_than_one_request_arrive_whole(live: Live, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 1000, 1000), dtype=np.uint8)
    path = tmp_path / "field.jpg"
    path.write_bytes(a_jpeg(6, 4))
    run = truerun.init("codes", run_key="train", strict=True)
    for step, pixels in enumerate(noise):
        run.log_image("noise", pixels, step=step)
    run.log_image("field", path, step=9, caption="the last")
    run.log_image("spectrum", a_png(5, 3))
    run.finish(timeout=60)

    (found,) = live.request("GET", "/projects/codes/runs?key=train").json()["items"]
    where = f"/runs/{found['run_id']}/images"
    listed = live.request("GET", where).json()["items"]
    assert [(each["name"], each["step"], each["content_type"]) for each in listed] == [
        ("field", 9, "image/jpeg"),
        *(("noise", step, "image/png") for step in range(7, -1, -1)),
        ("spectrum", None, "image/png"),
    ]
    assert listed[0]["caption"] == "the last"
    contents = [live.request("GET", f"{where}/{each['id']}").content for each in listed]
    assert (contents[0], contents[-1]) == (a_jpeg(6, 4), a_png(5, 3))
    for content, pixels in zip(contents[1:-1], noise[::-1], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
