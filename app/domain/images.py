"""Images that a training logs, such as spectra and heatmaps: what is taken, told by the bytes and not by any name."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import StrEnum

MOST_IMAGES = 50
MOST_BYTES = 2**20
# Unpacked, an image takes up to four bytes of each pixel wherever it is looked at.
MOST_PIXELS = 2**24
LONGEST_CAPTION = 2_000

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_JPEG_HEAD, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Frame headers of JPEG, which hold its size: all of C0 to CF but the tables and the reserved one.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers of JPEG without a length: TEM and the restarts.
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN = 0xDA


class ImageType(StrEnum):
    """The content types that an image may have; nobody is ever served another."""

    PNG = "image/png"
    JPEG = "image/jpeg"

    @property
    def extension(self) -> str:
        return "png" if self is ImageType.PNG else "jpg"


class BadImage(ValueError):
    """Args:
    code: What the record is rejected with.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The bytes of an image, and what they say of themselves; width and height in pixels."""

    type: ImageType
    width: int
    height: int
    data: bytes


def image_of(data: bytes) -> Image:
    """The image that these bytes are.

    Frames and checksums are gone through, pixels are not unpacked: that is left to who shows them.

    Raises:
        BadImage: `image_too_large`, or `not_an_image` for what is not a whole PNG or JPEG.
    """
    if len(data) > MOST_BYTES:
        raise BadImage("image_too_large")
    type_, size = ImageType.PNG, _png_size(data)
    if size is None:
        type_, size = ImageType.JPEG, _jpeg_size(data)
    if size is None or not all(size):
        raise BadImage("not_an_image")
    width, height = size
    if width * height > MOST_PIXELS:
        raise BadImage("image_too_large")
    return Image(type=type_, width=width, height=height, data=data)


def _png_size(data: bytes) -> tuple[int, int] | None:
    """None for what is no PNG, or a damaged one, or has something behind its end."""
    if not data.startswith(_PNG_HEAD):
        return None
    size: tuple[int, int] | None = None
    at = len(_PNG_HEAD)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(
            data[end - 4 : end], "big"
        ):
            return None
        if size is None:
            if kind != b"IHDR" or length != 13:
                return None
            width, height = struct.unpack_from(">II", data, at + 8)
            size = (width, height)
        if kind == b"IEND":
            return size if end == len(data) else None
        at = end
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """None for what is no JPEG, or has no frame before its first scan, or is cut off."""
    if not data.startswith(_JPEG_HEAD) or not data.endswith(_JPEG_END):
        return None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            # Filling before a marker.
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        if marker == _SCAN:
            return None
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAMES:
            if length < 8 or at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    return None
