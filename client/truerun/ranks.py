"""Which process of a distributed job this is; rank 0 writes, the others are silent."""

from __future__ import annotations

import os
from collections.abc import Mapping


def rank(environ: Mapping[str, str] = os.environ) -> int:
    """The process's rank by the first variable that says one; 0 for a job of one process."""
    for variable in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        found = _number(environ.get(variable))
        if found is not None:
            return found
    return 0


def world_size(environ: Mapping[str, str] = os.environ) -> int | None:
    """How many processes the job has, where it says so."""
    for variable in ("WORLD_SIZE", "SLURM_NTASKS"):
        found = _number(environ.get(variable))
        if found is not None:
            return found
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None
