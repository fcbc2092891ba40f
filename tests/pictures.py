"""Images as other programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image


def a_png(width: int = 4, height: int = 3, *, color: int = 7, mode: str = "L", **how: Any) -> bytes:
    return _saved(Image.new(mode, (width, height), color), "PNG", how)


def a_jpeg(width: int = 4, height: int = 3, *, mode: str = "RGB", **how: Any) -> bytes:
    return _saved(Image.new(mode, (width, height), 7), "JPEG", how)


def _saved(image: Image.Image, format_: str, how: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **how)
    return out.getvalue()


def a_chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def an_unreadable_png() -> bytes:
    """Whole as a file, but what should be its pixels is no packed data."""
    header = struct.pack(">IIBBBBB", 4, 3, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"nothing that is packed"), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(a_chunk(*each) for each in chunks)


def a_png_that_says(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(a_chunk(*each) for each in chunks)
