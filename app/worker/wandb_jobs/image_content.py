"""Images that a training logged, in the runs that show what became of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.worker.wandb_jobs.job import Picture
from app.worker.wandb_jobs.values import LONGEST_TEXT, Cell, key_part, printable

# All of a W&B run together: they have to be uploaded within the time that a job has.
MOST_IMAGE_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One image, the latest of its name.

    Args:
        digest: SHA-256 of its bytes, in hexadecimal digits.
        extension: png or jpg, by what its bytes are.
        source: As a `Picture` has it.
    """

    name: str
    caption: str
    step: int | None
    digest: str
    extension: str
    source: tuple[UUID, UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The images that go to one W&B run.

    Args:
        logged: How many images the run has, of all names and steps.
        left_out: How many names are not shown, for want of room.
    """

    shown: tuple[Shown, ...] = ()
    logged: int = 0
    left_out: int = 0

    @property
    def scalars(self) -> dict[str, Cell]:
        """None where nothing was logged; their keys are never those of images."""
        if not self.logged:
            return {}
        left_out = {"mirror/images_left_out": self.left_out} if self.left_out else {}
        return {"mirror/images_logged": self.logged, **left_out}


def pictures(shown: Sequence[Shown]) -> tuple[Picture, ...]:
    """One key for each name, such as `images/spectrum`; the caption says the name as it was given, and the step."""
    keys: dict[str, str] = {}
    found = []
    for each in shown:
        key = f"images/{key_part(each.name)}"
        if keys.setdefault(key, each.name) != each.name:
            # What W&B cannot sort by is replaced, so that two names may look the same.
            key = f"{key}_{hashlib.sha256(each.name.encode()).hexdigest()[:8]}"
        step = "" if each.step is None else f", step {each.step}"
        said = f": {each.caption}" if each.caption else ""
        found.append(
            Picture(
                name=key,
                caption=printable(f"{each.name}{step}{said}", LONGEST_TEXT),
                digest=each.digest,
                extension=each.extension,
                source=each.source,
            )
        )
    return tuple(found)
