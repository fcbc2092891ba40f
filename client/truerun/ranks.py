"""Which process of a distributed job this is; rank 0 writes, the others are silent unless all are asked to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

_IMPORTED_AT = time.monotonic()


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


def restarts(environ: Mapping[str, str] = os.environ) -> int:
    """How often the launcher has started this job before; 0 where it does not tell."""
    for variable in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        found = _number(environ.get(variable))
        if found is not None:
            return found
    return 0


def knows_no_others(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether nothing says that this process is one of several."""
    return rank(environ) == 0 and (world_size(environ) or 1) == 1


def process_age(*, now: Callable[[], float] = time.monotonic) -> float:
    """Seconds since this process was started; where the system does not tell, since this module was imported."""
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/uptime", "rb") as uptime:
            # The name of the program comes before, in parentheses, and may hold anything.
            started = int(stat.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
            return float(uptime.read().split()[0]) - started
    except (OSError, ValueError, IndexError):
        return now() - _IMPORTED_AT


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None
