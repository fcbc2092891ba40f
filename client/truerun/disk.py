"""Putting bytes and names on a disk for good."""

from __future__ import annotations

import os
from pathlib import Path


def write_all(file: int, content: bytes) -> None:
    """Write everything, in as many calls as it takes.

    Raises:
        OSError: The disk takes no more; a part may be written.
    """
    written = os.write(file, content)
    while written < len(content):
        more = os.write(file, content[written:])
        if more == 0:
            raise OSError("the disk takes no more")
        written += more


def flush_directory(path: Path) -> None:
    """Make last which names are in a directory: a file that was synced may still have lost its name with the power."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems cannot do it; the file's own content is safe already.
        pass
    finally:
        os.close(descriptor)
