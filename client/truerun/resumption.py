"""The key of a job that a scheduler starts again, so that it goes on as the same run; used only when asked for."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping

# The scheduler's name of the job, and what tells its parts from each other. torchrun's own default is the text "none",
# which strangers share.
_JOBS = (
    ("slurm", "SLURM_ARRAY_JOB_ID", ("SLURM_ARRAY_TASK_ID",)),
    ("slurm", "SLURM_JOB_ID", ("SLURM_STEP_ID",)),
    ("torchrun", "TORCHELASTIC_RUN_ID", ()),
    ("kubernetes", "JOB_NAME", ("JOB_COMPLETION_INDEX",)),
    ("vast", "VAST_CONTAINERLABEL", ()),
    ("runpod", "RUNPOD_POD_ID", ()),
)
_NO_NAMES = frozenset({"", "none", "null", "default"})


def key_of_job(environ: Mapping[str, str] = os.environ, script: str | None = None) -> str | None:
    """A run key that is the same each time the scheduler starts this job; None where nothing tells it.

    The script's path is part of it: one job may train several models.

    Args:
        script: By default the script that runs.
    """
    path = script if script is not None else getattr(sys.modules.get("__main__"), "__file__", None) or ""
    for kind, variable, parts in _JOBS:
        name = environ.get(variable, "").strip()
        if name.lower() in _NO_NAMES:
            continue
        said = [kind, name, *(environ.get(part, "") for part in parts), os.path.abspath(path) if path else ""]
        digest = hashlib.sha256("\0".join(said).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return f"{kind}-{''.join(c if c.isalnum() and c.isascii() else '-' for c in name)[:80]}-{digest}"
    return None
