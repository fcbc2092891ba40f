"""Images as `log_image` takes them, and as they travel; imports neither numpy nor PIL."""

from __future__ import annotations

import base64
import os
import stat
import struct
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from truerun.manners import WrongCall
from truerun.points import Other

MOST_IMAGES = 50
MOST_BYTES = 2**20
# Unpacked, such as an array of 1,600 × 1,600 pixels of three colours; whoever has more packs it first.
MOST_PIXEL_BYTES = 8 * 2**20
LONGEST_CAPTION = 2_000
TOO_LARGE = "image_too_large"

_HEADS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# PNG's kinds of colour, by channels.
_COLOURS = {1: 0, 3: 2, 4: 6}
_KINDS = (
    "PNG or JPEG bytes, a path, a PIL image, or an array of uint8 of shape (H, W), (H, W, 3) or (H, W, 4)"
)


class Raster(NamedTuple):
    """Pixels that are not packed yet.

    Args:
        pixels: Row by row, one byte for each channel of each pixel.
    """

    width: int
    height: int
    channels: int
    pixels: bytes


Picture: TypeAlias = "bytes | Raster"


@dataclass(slots=True)
class LateImage:
    """A record whose image is packed by our own thread; what the caller may change later has been copied.

    Args:
        document: The record as it travels, without its data.
    """

    idx: int
    document: Mapping[str, Any]
    picture: Picture

    @property
    def size(self) -> int:
        """In bytes, while it waits."""
        return len(self.picture.pixels if isinstance(self.picture, Raster) else self.picture)

    def record(self) -> Other:
        """The record as it travels; a gap that says why where it got too large."""
        data = png(self.picture) if isinstance(self.picture, Raster) else self.picture
        if len(data) > MOST_BYTES:
            return Other(self.idx, {"type": "gap", "until": self.idx + 1, "reason": TOO_LARGE})
        return Other(self.idx, {**self.document, "data": base64.b64encode(data).decode()})


def picture_of(image: Any) -> Picture:
    """A copy of what the caller means by an image.

    Raises:
        WrongCall: It is none, or too large.
        OSError: Its file cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return _packed(_file(os.fspath(image)))
    if isinstance(image, bytes | bytearray):
        return _packed(bytes(image))
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(image, pil.Image):
        return _of_pil(image)
    try:
        # What numpy and others show of their arrays; tensors show nothing.
        shown = memoryview(image)
    except (TypeError, ValueError):
        raise WrongCall("image", f"an image is {_KINDS}, not {type(image).__name__}") from None
    return _of_array(shown)


def png(raster: Raster) -> bytes:
    """The pixels as a PNG of eight bits a channel."""
    stride = raster.width * raster.channels
    packer = zlib.compressobj(6)
    rows = memoryview(raster.pixels)
    # Each row begins with the filter that it went through; 0 is none.
    packed = [
        packer.compress(b"\0" + rows[at : at + stride]) for at in range(0, stride * raster.height, stride)
    ]
    content = b"".join([*packed, packer.flush()])
    header = struct.pack(">IIBBBBB", raster.width, raster.height, 8, _COLOURS[raster.channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return _HEADS[0] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _file(path: str | bytes) -> bytes:
    # Opening a pipe would wait for whoever writes to it.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise WrongCall("image", f"{os.fsdecode(path)} is no file")
    with open(path, "rb") as file:
        return file.read(MOST_BYTES + 1)


def _packed(data: bytes) -> bytes:
    if not data.startswith(_HEADS):
        raise WrongCall("image", f"an image is {_KINDS}; these bytes are neither PNG nor JPEG")
    if len(data) > MOST_BYTES:
        raise WrongCall(TOO_LARGE, f"an image has at most {MOST_BYTES // 2**10:,} KiB; make it smaller")
    return data


def _of_pil(image: Any) -> Raster:
    _check_pixels(image.width * image.height * 4)
    if image.mode not in ("L", "RGB", "RGBA"):
        is_transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
        image = image.convert("RGBA" if is_transparent else "RGB")
    return Raster(image.width, image.height, len(image.getbands()), image.tobytes())


def _of_array(shown: memoryview) -> Raster:
    shape = shown.shape or ()
    if shown.format != "B":
        raise WrongCall("image", "the pixels of an array are of uint8, from 0 to 255; scale and convert them")
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in _COLOURS):
        raise WrongCall("image", f"an array of shape {tuple(shape)} is no image; an image is {_KINDS}")
    _check_pixels(shown.nbytes)
    return Raster(shape[1], shape[0], shape[2] if len(shape) == 3 else 1, shown.tobytes())


def _check_pixels(size: int) -> None:
    if size > MOST_PIXEL_BYTES:
        raise WrongCall(
            TOO_LARGE,
            f"{size:,} bytes of pixels are more than {MOST_PIXEL_BYTES:,}; make it smaller, or save it as PNG or JPEG",
        )
