"""A stream's records on disk until the service has acknowledged them.

<spool>/<writer>/streams/<stream>/<first idx>.seg    frames of records, each with its length and CRC-32

A process that is killed loses nothing that was written; a machine that vanishes, what came after the last seal, at most
SEAL_SECONDS old.
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import UUID

from truerun.disk import flush_directory, write_all
from truerun.journal import Journal, left_behind, remove_left_behind
from truerun.points import Encoder, Other
from truerun.segments import Record, Segment, head, is_image, names_in, travelling_bytes, until_of

SEAL_BYTES = 2**20
SEAL_SECONDS = 60.0
MOST_DISK_BYTES = 256 * 2**20
MOST_MEMORY_BYTES = 8 * 2**20
# Kept free inside our own file, so that the end of a run can be written when the disk is full.
RESERVE_BYTES = 16 * 2**10
RETRY_DISK_SECONDS = 5.0


class Store:
    """The records of one stream that are not acknowledged yet. Used by one thread at a time.

    Args:
        directory: None where no disk can be used.
        complain: Called with a kind and a message when the disk makes trouble.
    """

    def __init__(self, directory: Path | None, stream_id: UUID, complain: Callable[[str, str], None]) -> None:
        self.directory = directory
        self.stream_id = stream_id
        # (first, until, reason) of records that were given up.
        self.lost: list[tuple[int, int, str]] = []
        self._complain = complain
        self._segments: list[Segment] = []
        self._file: int | None = None
        self._encoder = Encoder()
        self._disk_again_at = 0.0
        self._reserve: Path | None = None
        self._has_lasting_name = False

    @classmethod
    def leftover(cls, directory: Path, complain: Callable[[str, str], None]) -> Store:
        """What another process has left behind; only read and acknowledged.

        Raises:
            ValueError: The directory is not called by a stream's id.
        """
        store = cls(directory, UUID(directory.name), complain)
        for path in sorted(directory.glob("*.seg")):
            if not path.stem.isdecimal():
                continue
            segment = Segment(first_idx=int(path.stem), path=path, is_sealed=True, size=path.stat().st_size)
            records = segment.records()
            segment.until = max(map(until_of, records), default=segment.first_idx)
            if store._segments:
                # Memory for one of them at a time; the first is read next.
                segment.forget()
            store._segments.append(segment)
        store._take_journal()
        return store

    def _take_journal(self) -> None:
        """Put what the process had logged and not written yet behind the rest."""
        assert self.directory is not None  # noqa: S101 - a leftover lies somewhere
        left = [r for r in left_behind(self.stream_id, directory=self.directory) if r.idx >= self.until]
        if left:
            self.append(left, now=0.0)
            self.seal()
        if self.is_on_disk:
            remove_left_behind(self.stream_id, directory=self.directory)

    def journal(self) -> Journal | None:
        """A place for what is not written yet; None where there is no room, or no directory to find it by."""
        if self.directory is None:
            return None
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Journal(self.stream_id, directory=self.directory)
        except OSError as error:
            self._complain("journal", f"no shared memory, so a kill may lose the last moment: {error}")
            return None

    @property
    def held_bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    @property
    def until(self) -> int:
        """One past the last record that is held; 0 when nothing is."""
        return max((segment.until for segment in self._segments), default=0)

    @property
    def first_idx(self) -> int:
        """The first record that is held; 0 when nothing is."""
        return self._segments[0].first_idx if self._segments else 0

    @property
    def is_on_disk(self) -> bool:
        return self.directory is not None and all(s.path is not None for s in self._segments)

    def append(self, records: Iterable[Record], *, now: float) -> None:
        """Keep records, in the order of their idx.

        Args:
            now: Seconds of a clock that never goes back.
        """
        content = bytearray()
        first: int | None = None
        until = 0
        for record in records:
            segment = self._active(record.idx if first is None else first, now)
            try:
                content += self._encoder.encode(record)
            except OverflowError:
                # Shows as a gap; there is no number to keep.
                self.lost.append((record.idx, until_of(record), "not_a_number"))
                continue
            first = record.idx if first is None else first
            until = until_of(record)
            if segment.size + len(content) >= SEAL_BYTES:
                self._write(content, until, now)
                self.seal()
                content, first = bytearray(), None
        if content:
            self._write(content, until, now)
        self.seal_if_due(now=now)
        self._stay_within_bounds()

    def seal_due_in(self, now: float) -> float | None:
        """Seconds until the file that is written to has to be sealed; None where there is none."""
        active = self._segments[-1] if self._segments else None
        if active is None or active.is_sealed:
            return None
        return max(0.0, active.opened_at + SEAL_SECONDS - now)

    def seal_if_due(self, *, now: float) -> None:
        if self.seal_due_in(now) == 0.0:
            self.seal()

    def seal(self) -> None:
        """Put what was written on the disk for good; what follows goes into another file."""
        if not self._segments or self._segments[-1].is_sealed:
            return
        segment = self._segments[-1]
        segment.is_sealed = True
        self._encoder = Encoder()
        if self._file is not None:
            try:
                getattr(os, "fdatasync", os.fsync)(self._file)
            except OSError as error:
                self._complain("spool", f"the disk did not keep {segment.path}: {error}")
            self._flush_names()
            os.close(self._file)
            self._file = None
            segment.buffer = None
            segment.forget()

    def read(self, first: int, *, most_records: int, most_bytes: int) -> list[Record]:
        """Records from `first` on, as far as they are held, in order."""
        found: list[Record] = []
        size = 0
        for segment in self._segments:
            if segment.until <= first:
                continue
            records = segment.records()
            start = bisect.bisect_left(records, first, key=_idx)
            # A gap that begins before may reach beyond.
            if start and until_of(records[start - 1]) > first:
                start -= 1
            for record in records[start:]:
                size += travelling_bytes(record)
                if len(found) == most_records or (found and size > most_bytes):
                    return found
                found.append(record)
        return found

    def acknowledge(self, next_idx: int) -> None:
        """Let go of every file that is settled as a whole."""
        while self._segments and self._segments[0].until <= next_idx:
            segment = self._segments[0]
            if not segment.is_sealed and segment.path is not None:
                return
            self._segments.pop(0)
            self._take_away(segment)
        self.lost = [each for each in self.lost if each[1] > next_idx]

    def close(self, *, is_settled: bool) -> None:
        """Stop writing.

        Args:
            is_settled: Everything was acknowledged, so the directory goes.
        """
        self.seal()
        if self._reserve is not None:
            self._reserve.unlink(missing_ok=True)
            self._reserve = None
        if not is_settled:
            return
        for segment in self._segments:
            self._take_away(segment)
        self._segments = []
        if self.directory is not None:
            remove_left_behind(self.stream_id, directory=self.directory)
            # Not empty, or never made: what lies there is found again.
            with contextlib.suppress(OSError):
                self.directory.rmdir()

    def _active(self, idx: int, now: float) -> Segment:
        """The segment that is written to; a new one where there is none."""
        if self._segments and not self._segments[-1].is_sealed:
            active = self._segments[-1]
            if active.path is not None or now < self._disk_again_at or self.directory is None:
                return active
            # The disk may take something again.
            active.is_sealed = True
            self._encoder = Encoder()
        segment = Segment(first_idx=idx, path=None, buffer=bytearray(), opened_at=now, until=idx)
        first = head(self.stream_id, idx)
        if self.directory is not None and now >= self._disk_again_at:
            segment.path = self._made(idx, first, now)
        segment.buffer = bytearray(first)
        segment.size = len(first)
        self._segments.append(segment)
        self._encoder = Encoder()
        return segment

    def _made(self, idx: int, content: bytes, now: float) -> Path | None:
        assert self.directory is not None  # noqa: S101 - asked by the caller
        path = self.directory / f"{idx:020d}.seg"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._reserve is None:
                self._reserve = self.directory / "reserve"
                self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            self._file = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
            write_all(self._file, content)
        except OSError as error:
            self._give_up_disk(error, now)
            return None
        return path

    def _write(self, content: bytearray, until: int, now: float) -> None:
        segment = self._segments[-1]
        if self._file is not None:
            try:
                write_all(self._file, bytes(content))
            except OSError as error:
                self._cut_back(segment)
                if not self._use_reserve(segment, bytes(content)):
                    self._give_up_disk(error, now)
                    # What came before stays in its file; this goes on in memory, with the names that it refers to.
                    names = names_in(bytes(segment.buffer or b""))
                    self.seal()
                    segment = self._active(segment.until, now)
                    segment.buffer = (segment.buffer or bytearray()) + names
                    segment.size = len(segment.buffer)
        if segment.buffer is not None:
            segment.buffer += content
        segment.size += len(content)
        segment.until = max(segment.until, until)

    def _cut_back(self, segment: Segment) -> None:
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, segment.size)
        except OSError as error:
            # Half a frame at the end is passed over when it is read.
            self._complain("spool", f"{segment.path} could not be cut back: {error}")

    def _flush_names(self) -> None:
        if self.directory is None:
            return
        flush_directory(self.directory)
        if not self._has_lasting_name:
            # This directory was made with its first file, and perhaps the one above.
            flush_directory(self.directory.parent)
            flush_directory(self.directory.parent.parent)
            self._has_lasting_name = True

    def _use_reserve(self, segment: Segment, content: bytes) -> bool:
        """Write something small all the same, in the room that was kept for it."""
        if self._reserve is None or self._file is None or len(content) > RESERVE_BYTES // 2:
            return False
        self._reserve.unlink(missing_ok=True)
        self._reserve = None
        try:
            write_all(self._file, content)
        except OSError:
            self._cut_back(segment)
            return False
        return True

    def _give_up_disk(self, error: OSError, now: float) -> None:
        self._disk_again_at = now + RETRY_DISK_SECONDS
        self._complain("spool", f"the disk does not take records, keeping them in memory: {error}")

    def _stay_within_bounds(self) -> None:
        while self._bytes_of(is_file=True) > MOST_DISK_BYTES and self._drop_oldest(is_file=True):
            pass
        while self._bytes_of(is_file=False) > MOST_MEMORY_BYTES and self._drop_oldest(is_file=False):
            pass

    def _bytes_of(self, *, is_file: bool) -> int:
        return sum(s.size for s in self._segments if (s.path is not None) is is_file)

    def _drop_oldest(self, *, is_file: bool) -> bool:
        """Give up the oldest points and images, but no events or ends; whether there was anything to drop."""
        for i, segment in enumerate(self._segments):
            if (segment.path is not None) is not is_file or (not segment.is_sealed and is_file):
                continue
            records = segment.records()
            kept = [record for record in records if isinstance(record, Other) and not is_image(record)]
            if len(kept) == len(records):
                continue
            reason = "spool_full" if is_file else "memory_full"
            self.lost.append((segment.first_idx, segment.until, reason))
            self._complain(
                reason, f"{len(records) - len(kept)} of the oldest records were dropped ({reason})"
            )
            self._take_away(segment)
            smaller = Segment(
                first_idx=segment.first_idx,
                path=None,
                buffer=bytearray(),
                is_sealed=True,
                until=segment.until,
            )
            encoder = Encoder()
            first = head(self.stream_id, segment.first_idx)
            smaller.buffer = bytearray(first + b"".join(map(encoder.encode, kept)))
            smaller.size = len(smaller.buffer)
            if kept and segment.path is not None:
                segment.path.write_bytes(smaller.buffer)
                smaller.path, smaller.buffer = segment.path, None
            self._segments[i : i + 1] = [smaller] if kept else []
            return True
        return False

    def _take_away(self, segment: Segment) -> None:
        if segment.path is None:
            return
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            self._complain("spool", f"{segment.path} could not be removed: {error}")


def _idx(record: Record) -> int:
    return record.idx
