"""What was logged and is not in the spool yet, in memory that outlives the process.

The caller's thread copies each record into a file of shared memory that is mapped here: no system call, no disk, and a
process that is killed the moment after `log()` has returned loses nothing. Two areas take turns: one is written while
the records of the other go to the spool. Whoever finds the stream later takes from here what the spool lacks.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from pathlib import Path
from uuid import UUID

from truerun.points import Decoder, Encoder, Other, Point

AREA_BYTES = 2**19
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the file is made with O_EXCL and mode 0600
_NAME = "truerun-{}.journal"
_MAGIC = b"TRUEJNL1"
# Magic, stream, bytes of an area, device and inode of the spool; the rest is zero.
_HEAD = struct.Struct("<8s16sQQQ16x")
_HEAD_BYTES = _HEAD.size


class Journal:
    """The writing side; every call of it is made under the recorder's lock.

    Args:
        directory: The stream's, `<spool>/<writer>/streams/<stream>`; where there is no shared memory it lies there.

    Raises:
        OSError: There is no room for it.
    """

    def __init__(self, stream_id: UUID, *, directory: Path, area_bytes: int = AREA_BYTES) -> None:
        self._path = _place(stream_id, directory)
        self._area_bytes = area_bytes
        device, inode = _spool_of(directory)
        size = _HEAD_BYTES + 2 * area_bytes
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        file = os.open(self._path, flags, 0o600)
        try:
            # All of it now: memory that is short later would end the training with SIGBUS.
            os.posix_fallocate(file, 0, size)
            self._memory = mmap.mmap(file, size)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        _HEAD.pack_into(self._memory, 0, _MAGIC, stream_id.bytes, area_bytes, device, inode)
        self._encoder = Encoder()
        self._area = 0
        self._at = _HEAD_BYTES
        # Records below it may still be read from the area that is not written to.
        self._other_until = 0

    def write(self, record: Point | Other) -> bool:
        """Keep a record; False when there is no room until the spool has caught up.

        Raises:
            OverflowError: A number does not fit into a double; the spool says so, too.
        """
        content = self._encoder.encode(record)
        end = self._at + len(content)
        if end > _HEAD_BYTES + (self._area + 1) * self._area_bytes:
            # What the encoder thinks is written was not.
            self._encoder = Encoder()
            return False
        self._memory[self._at : end] = content
        self._at = end
        return True

    def turn(self, *, spooled: int, logged: int) -> None:
        """Write to the other area from now on, if all that it holds is in the spool.

        Args:
            spooled: Every record below is in the spool.
            logged: Every record from here on is not written yet.
        """
        if spooled < self._other_until or self._at == _HEAD_BYTES + self._area * self._area_bytes:
            return
        self._area = 1 - self._area
        self._at = _HEAD_BYTES + self._area * self._area_bytes
        self._encoder = Encoder()
        self._other_until = logged

    def remove(self) -> None:
        """Take it away; nothing that it holds is needed any more."""
        self._path.unlink(missing_ok=True)


def left_behind(stream_id: UUID, *, directory: Path) -> list[Point | Other]:
    """The records that a process which is gone left in its journal, by idx; none where there is no journal.

    Some or all of them may be in the spool as well.
    """
    data = _read(_place(stream_id, directory))
    if len(data) < _HEAD_BYTES:
        return []
    magic, stream, area_bytes, *_ = _HEAD.unpack_from(data)
    if (magic, stream) != (_MAGIC, stream_id.bytes):
        return []
    found: dict[int, Point | Other] = {}
    for first in (_HEAD_BYTES, _HEAD_BYTES + area_bytes):
        # Behind the newest frames of an area lie older ones, which a decoder passes over since they go back.
        records, _ = Decoder().decode(data[first : first + area_bytes], 0)
        found.update((record.idx, record) for record in records)
    return [found[idx] for idx in sorted(found)]


def remove_left_behind(stream_id: UUID, *, directory: Path) -> None:
    _place(stream_id, directory).unlink(missing_ok=True)


def remove_orphans(spool: Path) -> None:
    """Take away the journals of streams whose directory in this spool is gone: nobody would find them any more.

    Shared memory may be that of several containers, so a journal of a spool that is not this one may have a directory
    that cannot be seen from here.
    """
    facts = spool.stat()
    # A process makes its directory before its journal, so they are looked at the other way round.
    for path in _SHARED_MEMORY.glob(_NAME.format("*")):
        head = _read(path, _HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            continue
        magic, stream, _, *its_spool = _HEAD.unpack(head)
        if magic != _MAGIC or its_spool != [facts.st_dev, facts.st_ino]:
            continue
        if not any(spool.glob(f"*/streams/{UUID(bytes=stream)}")):
            path.unlink(missing_ok=True)


def _read(path: Path, most_bytes: int = -1) -> bytes:
    """What lies there; nothing where it is no file of this user."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return b""
    with os.fdopen(file, "rb") as opened:
        facts = os.fstat(file)
        # Anybody may put a file there; only one's own is believed.
        if facts.st_uid != os.geteuid() or not stat.S_ISREG(facts.st_mode):
            return b""
        return opened.read(most_bytes)


def _spool_of(directory: Path) -> tuple[int, int]:
    """Device and inode of the spool that a stream's directory lies in."""
    facts = directory.parents[2].stat()
    return facts.st_dev, facts.st_ino


def _place(stream_id: UUID, directory: Path) -> Path:
    folder = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK) else directory
    return folder / _NAME.format(stream_id)
