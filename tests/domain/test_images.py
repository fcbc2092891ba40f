from __future__ import annotations

import pytest

from app.domain.images import MOST_BYTES, BadImage, ImageType, image_of
from tests.pictures import a_chunk, a_jpeg, a_png, a_png_that_says

PNG, JPEG = ImageType.PNG, ImageType.JPEG
HTML = b"<!doctype html><script>alert(1)</script>"
COMMENT = b"\xff\xfe" + (2 + len(HTML)).to_bytes(2, "big") + HTML

WHOLE = {
    "grey": (a_png(5, 3), PNG),
    "colour": (a_png(5, 3, mode="RGB"), PNG),
    "with alpha": (a_png(5, 3, mode="RGBA"), PNG),
    "palette": (a_png(5, 3, mode="P"), PNG),
    "16 bits": (a_png(5, 3, mode="I;16"), PNG),
    "one bit": (a_png(5, 3, mode="1"), PNG),
    "jpeg": (a_jpeg(5, 3), JPEG),
    "progressive": (a_jpeg(5, 3, progressive=True), JPEG),
    "grey jpeg": (a_jpeg(5, 3, mode="L"), JPEG),
    "cmyk": (a_jpeg(5, 3, mode="CMYK"), JPEG),
    "restarts": (a_jpeg(5, 3, restart_marker_blocks=1), JPEG),
    "jpeg with a comment of html": (a_jpeg(5, 3)[:2] + COMMENT + a_jpeg(5, 3)[2:], JPEG),
    "jpeg with filling": (a_jpeg(5, 3)[:2] + b"\xff\xff" + a_jpeg(5, 3)[2:], JPEG),
}
BROKEN = {
    "nothing": b"",
    "html": HTML,
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "gif": b"GIF89a\1\0\1\0\0\0\0;",
    "html that says it is png": b"\x89PNG\r\n\x1a\n" + HTML,
    "html that says it is jpeg": b"\xff\xd8\xff" + HTML + b"\xff\xd9",
    "html behind a png": a_png() + HTML,
    "half a png": a_png()[:-12],
    "a png that does not begin with its header": a_png()[:8] + a_chunk(b"tEXt", b"a\0b") + a_png()[8:],
    "a png without width": a_png_that_says(0, 3),
    "half a jpeg": a_jpeg()[: len(a_jpeg()) // 2],
    "a jpeg without a frame": b"\xff\xd8\xff\xda\0\x02\xff\xd9",
    "a jpeg whose parts have no length": b"\xff\xd8" + b"\xff\xe0\0\0" * 9 + b"\xff\xd9",
}


@pytest.mark.parametrize(("data", "type_"), WHOLE.values(), ids=WHOLE)
def test_what_other_programs_write_is_told_with_its_size(data: bytes, type_: ImageType) -> None:
    found = image_of(data)

    assert (found.type, found.width, found.height, found.data) == (type_, 5, 3, data)


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_image_is_none(data: bytes) -> None:
    with pytest.raises(BadImage) as caught:
        image_of(data)

    assert caught.value.code == "not_an_image"


def test_a_png_is_taken_whole_or_not_at_all() -> None:
    data = a_png(9, 9)

    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for broken in (data[:at], damaged):
            with pytest.raises(BadImage):
                image_of(broken)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(a_png()[:-12] + a_chunk(b"tEXt", b"x" * MOST_BYTES) + a_png()[-12:], id="bytes"),
        pytest.param(a_png_that_says(4097, 4096), id="pixels"),
        pytest.param(a_png_that_says(2**31 - 1, 2**31 - 1), id="a bomb"),
    ],
)
def test_a_larger_one_is_refused_before_anybody_unpacks_it(data: bytes) -> None:
    with pytest.raises(BadImage) as caught:
        image_of(data)

    assert caught.value.code == "image_too_large"


def test_the_largest_is_taken() -> None:
    fill = MOST_BYTES - len(a_png()) - 12
    data = a_png()[:-12] + a_chunk(b"tEXt", b"x" * fill) + a_png()[-12:]

    assert len(image_of(data).data) == MOST_BYTES
    assert image_of(a_png_that_says(4096, 4096)).width == 4096
