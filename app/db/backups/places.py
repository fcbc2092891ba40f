"""Where a backup is written to and read from: a file that appears whole or not at all, or a pipe."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from app.db.backups.archive import BackupFailed

PIPE = Path("-")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when the block ends well; `-` is the standard output.

    It is readable for its owner only. Until then, and for ever if the process is killed, its name is
    `.<name>.<something>.half`.

    Raises:
        BackupFailed: The name is taken, or the file cannot be written.
    """
    if path == PIPE:
        with _said(path):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    if path.exists():
        raise BackupFailed(
            f"{path} exists, and a backup overwrites nothing; choose another name or move it away"
        )
    with _said(path):
        # mkstemp makes the file with mode 0600, whatever the umask.
        descriptor, half = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".half")
    try:
        with _said(path), open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _said(path):
            os.replace(half, path)
            _settle_name(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(half)
        raise


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The backup to read; `-` is the standard input.

    Raises:
        BackupFailed: It cannot be opened or read.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = sys.stdin.buffer if path == PIPE else stack.enter_context(path.open("rb"))
        except OSError as error:
            raise BackupFailed(f"{path} cannot be read: {error.strerror}") from error
        yield file


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = "the standard output" if path == PIPE else str(path)
        more = "; no file was left" if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) else ""
        raise BackupFailed(
            f"{where} cannot be written: {error.strerror}{more if path != PIPE else ''}"
        ) from error


def _settle_name(directory: Path) -> None:
    """Let the new name survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
