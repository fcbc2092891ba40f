"""What is not delivered yet, on disk: one directory per writer process, one file per evaluation.

<spool>/<writer>/run.json               what the service must know of the run, without any token
<spool>/<writer>/lock                   held while the writer lives
<spool>/<writer>/evaluations/<id>.json  the body exactly as it is sent; gone once accepted
<spool>/<writer>/rejected/<id>.json     refused for good, with <id>.answer.json beside it
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from truerun import wire
from truerun.disk import flush_directory
from truerun.points import Point
from truerun.segments import Record

FORMAT = 1
# A process is between making its directory and locking it for a moment only, unless it is suspended there.
UNFINISHED_SECONDS = 3600.0
_WRITTEN_FIRST = {"lock", "streams", "run.json.part"}


class Spool:
    """One writer's directory. Every method may raise OSError: a disk can fill up at any moment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None

    @classmethod
    def create(cls, root: Path, writer: UUID) -> Spool:
        """A new directory below `root`, readable by this user alone, locked until `close`."""
        _own_directory(root.parent)
        _own_directory(root)
        spool = cls(root / str(writer))
        spool.directory.mkdir(mode=0o700)
        spool.try_lock()
        flush_directory(root)
        return spool

    def try_lock(self) -> bool:
        """Whether this process now holds the directory; a file system without locks counts as free."""
        # A bare descriptor: a file object would complain when the interpreter ends while it is held.
        self._lock = _private(str(self.directory / "lock"), os.O_RDWR | os.O_CREAT)
        try:
            import fcntl

            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            return False
        except (ImportError, OSError):
            return True
        return True

    def unlock(self) -> None:
        """Let go of the directory; a forked child does so at once, or it would hold its parent's lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_run(self, document: Mapping[str, Any]) -> None:
        _write(self.directory / "run.json", wire.encode({"format": FORMAT, **document}))

    def read_run(self) -> dict[str, Any]:
        """The run's document.

        Raises:
            ValueError: It is damaged, or of a later client.
        """
        document = json.loads((self.directory / "run.json").read_bytes())
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"{self.directory}/run.json is not of this version of truerun")
        return document

    def write_evaluation(self, evaluation: UUID, body: bytes) -> None:
        """Put the body on disk for good: after this returned, neither a crash nor a power cut loses it."""
        folder = self._folder("evaluations")
        _write(folder / f"{evaluation}.json", body)

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            flush_directory(self.directory)
        return folder

    def read_evaluation(self, evaluation: UUID) -> bytes:
        return (self.directory / "evaluations" / f"{evaluation}.json").read_bytes()

    def pending(self) -> list[UUID]:
        """The evaluations that wait, in the order they were made."""
        return sorted(_ids(self.directory / "evaluations"))

    def rejected(self) -> list[UUID]:
        return sorted(_ids(self.directory / "rejected"))

    def accept(self, evaluation: UUID) -> None:
        (self.directory / "evaluations" / f"{evaluation}.json").unlink(missing_ok=True)

    def reject(self, evaluation: UUID, answer: Mapping[str, Any]) -> None:
        """Set an evaluation aside together with the service's answer."""
        folder = self._folder("rejected")
        _write(folder / f"{evaluation}.answer.json", wire.encode(answer))
        os.replace(self.directory / "evaluations" / f"{evaluation}.json", folder / f"{evaluation}.json")

    def stream_directory(self, stream_id: UUID) -> Path:
        return self.directory / "streams" / str(stream_id)

    def streams(self) -> list[Path]:
        """Where records lie that are not delivered, or were when somebody last looked."""
        try:
            return sorted(entry for entry in (self.directory / "streams").iterdir() if entry.is_dir())
        except OSError:
            return []

    def set_aside(self, stream_id: UUID, record: Record, why: str) -> None:
        """Keep a record that the service will never take."""
        folder = self._folder("rejected")
        told: dict[str, Any] = {"stream": str(stream_id), "idx": record.idx, "reason": why}
        if isinstance(record, Point):
            names = [f"{group}/{name}" if group else name for group, name in record.keys.names]
            told |= {"step": record.step, "values": dict(zip(names, record.numbers, strict=True))}
        else:
            told |= {"record": dict(record.document)}
        _write(folder / f"record-{stream_id}-{record.idx}.json", wire.encode(told))

    def remove(self) -> bool:
        """Take the directory away if nothing of worth is in it; whether it is gone."""
        if self.pending() or self.rejected() or any((self.directory / "rejected").glob("record-*.json")):
            return False
        for stream in self.streams():
            (stream / "reserve").unlink(missing_ok=True)
            try:
                stream.rmdir()
            except OSError:
                return False
        with contextlib.suppress(OSError):
            (self.directory / "streams").rmdir()
        for name in ("run.json", "lock"):
            (self.directory / name).unlink(missing_ok=True)
        for folder in (self.directory / "evaluations", self.directory / "rejected", self.directory):
            for leftover in folder.glob("*.part") if folder.is_dir() else ():
                leftover.unlink(missing_ok=True)
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return False
        return True


def writers(root: Path) -> list[Path]:
    """The writers' directories below a spool, oldest first; `root` may be one writer's directory itself."""
    if (root / "run.json").is_file():
        return [root]
    try:
        return sorted(entry for entry in root.iterdir() if (entry / "run.json").is_file())
    except OSError:
        return []


def unfinished(root: Path, *, now: float) -> list[Path]:
    """The directories below a spool whose process has said nothing of its run, and should have long ago.

    Args:
        now: Seconds of the Unix epoch.
    """
    found = []
    for entry in root.iterdir():
        try:
            UUID(entry.name)
            has_only_a_start = {each.name for each in entry.iterdir()} <= _WRITTEN_FIRST
            if has_only_a_start and now - entry.stat().st_mtime > UNFINISHED_SECONDS:
                found.append(entry)
        except (ValueError, OSError):
            # Not ours, or gone in the meantime.
            continue
    return sorted(found)


def _ids(folder: Path) -> list[UUID]:
    found: list[UUID] = []
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    for name in names:
        stem, dot, rest = name.partition(".")
        try:
            found.extend([UUID(stem)] if (dot, rest) == (".", "json") else [])
        except ValueError:
            continue
    return found


def _own_directory(path: Path) -> None:
    """Make it 0700, with whatever lies above it; refuse one that belongs to somebody else."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        owner = path.stat().st_uid
        if os.getuid() not in (owner, 0):
            raise PermissionError(f"{path} belongs to another user")
    path.chmod(0o700)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _write(path: Path, content: bytes) -> None:
    # Whole or not at all: a reader never sees half a file, and a name never points at content that is not on
    # disk.
    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, "wb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)
