"""Is it there? What a job expects to find on the server, compared with what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.worker.wandb_jobs.job import Job

REV = "mirror/rev"
# It is set last, when everything that a row refers to has been taken.
DIGEST = "mirror/digest"
ALERTS = "mirror/alerts"
# A run that lives long remembers its newest alerts only; W&B itself holds back a repeat for an hour.
MOST_MARKS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A run as the server has it.

    Args:
        summary: Parsed.
        last_step: The largest step of its history; None where it has none.
        files: Size in bytes by path, of the files that the summary names.
    """

    summary: Mapping[str, Any]
    last_step: int | None
    files: Mapping[str, int]
    url: str = ""


def file_keys(job: Job) -> dict[str, str]:
    """The keys of the summary that must name a file, with what it holds; a chart's data is in a table of its own."""
    charts = [*(each.name for each in job.bars), *(each.name for each in job.lines)]
    charts += [each.name for each in job.histograms]
    tables = [*(each.name for each in job.tables), *(f"{name}_table" for name in charts)]
    return dict.fromkeys(tables, "table") | {each.name: "image" for each in job.pictures}


def paths_in(summary: Mapping[str, Any], job: Job) -> list[str]:
    """The files that the summary says hold the job's tables and images."""
    said = (summary.get(key) for key in file_keys(job))
    return [each["path"] for each in said if isinstance(each, Mapping) and isinstance(each.get("path"), str)]


def missing(job: Job, found: Found | None) -> str:
    """What of the job's data is not on the server, in words; "" where nothing is missing.

    The same data of another revision are the same: nobody writes them anew.
    """
    if found is None:
        return "the run does not exist"
    summary = found.summary
    rev = _rev(summary)
    # A row that went out without its digest stands beside the digest of the row before.
    if rev is None or summary.get(DIGEST) != replace(job, rev=rev).digest:
        return "the summary is not this job's"
    for key, kind in file_keys(job).items():
        said = summary.get(key)
        if not isinstance(said, Mapping) or "path" not in said:
            return f"the summary does not name the {kind} {key}"
        size = found.files.get(said["path"])
        if size is None or size != said.get("size"):
            return f"the file of the {kind} {key} is not there"
    # The summary can arrive without the row that it comes from. It has no step after a session that only sent alerts.
    step = summary.get("_step", 0)
    if not isinstance(step, int) or found.last_step is None or found.last_step < step:
        return "the history's row is not there"
    return ""


def is_newer(job: Job, found: Found | None) -> bool:
    """Whether the server already has a newer content of the run than the job's."""
    rev = None if found is None else _rev(found.summary)
    return rev is not None and rev > job.rev


def _rev(summary: Mapping[str, Any]) -> int | None:
    rev = summary.get(REV)
    return rev if isinstance(rev, int) else None


def told(found: Found | None) -> list[str]:
    """The marks of the alerts that the run has already sent."""
    marks = "" if found is None else found.summary.get(ALERTS)
    return marks.split() if isinstance(marks, str) else []
