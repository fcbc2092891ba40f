"""A machine whose power fails: what was not synced is gone, contents as well as names.

As a program it is a training whose syncs are watched (`trainer.py` and the options here). Names are taken as strictly
as POSIX has them: a file that was synced is found again only if its directory was synced after it got its name, and so
on up to the spool. That a file which was taken away comes back is not played: the service knows its records.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

# Instead of a minute, so that a test need not wait for one.
SEAL_SECONDS = 0.5


class Watch:
    """Writes down every sync of this process."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def forgetting(self, file: int) -> None:
        """The defect: a sync that does nothing."""
        self._note({"forgotten": os.fstat(file).st_ino})

    def watching(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def watched(file: int) -> None:
            facts = os.fstat(file)
            # What is there before the call is what it makes last.
            names = (
                {each.name: each.inode() for each in os.scandir(file)}
                if stat.S_ISDIR(facts.st_mode)
                else None
            )
            sync(file)
            self._note({"inode": facts.st_ino, "size": facts.st_size, "names": names})

        return watched

    def _note(self, what: dict[str, object]) -> None:
        # One call, so that a kill leaves whole lines.
        os.write(self._log, json.dumps(what).encode() + b"\n")


@dataclass
class Synced:
    """What a log of syncs comes to: sizes of files, and names in directories, by inode."""

    sizes: dict[int, int] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, log: Path) -> Synced:
        found = cls()
        for line in log.read_text().splitlines() if log.exists() else ():
            said = json.loads(line)
            if "forgotten" in said:
                found.forgotten.add(said["forgotten"])
            elif said["names"] is None:
                found.sizes[said["inode"]] = said["size"]
            else:
                found.names[said["inode"]] = said["names"]
        return found

    def was_asked_for(self, path: Path) -> bool:
        """Whether a sync of the file as it is now was called for, in vain or not."""
        facts = path.stat()
        return facts.st_ino in self.forgotten or self.sizes.get(facts.st_ino) == facts.st_size


def lose_power(directory: Path, log: Path) -> None:
    """Leave of a directory what a disk holds after the power failed; its own name was there long before."""
    _lose(directory, Synced.read(log))


def _lose(directory: Path, synced: Synced) -> None:
    kept = synced.names.get(directory.stat().st_ino, {})
    for path in list(directory.iterdir()):
        facts = path.lstat()
        if kept.get(path.name) != facts.st_ino:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif path.is_dir():
            _lose(path, synced)
        else:
            os.truncate(path, min(facts.st_size, synced.sizes.get(facts.st_ino, 0)))


def forget_shared_memory(stream_id: UUID, directory: Path) -> None:
    """What was in memory goes with the power, too."""
    from truerun.journal import remove_left_behind

    remove_left_behind(stream_id, directory=directory)


def main() -> None:
    import trainer

    from truerun import store

    arguments = [each for each in sys.argv[1:] if each != "--forgetful"]
    watch = Watch(Path(f"{arguments[1]}.syncs"))
    os.fsync = watch.watching(os.fsync)
    # The segments' own; everything else is synced by the other call.
    os.fdatasync = watch.forgetting if "--forgetful" in sys.argv else watch.watching(os.fdatasync)
    store.SEAL_SECONDS = SEAL_SECONDS
    trainer.main(arguments)


if __name__ == "__main__":
    # The trainer lies beside this file and is no module of the product.
    sys.path.insert(0, str(Path(__file__).parent))
    main()
