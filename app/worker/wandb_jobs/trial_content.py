"""The run `test-<project>`: shows that what is mirrored arrives, and says nothing else."""

from __future__ import annotations

from datetime import datetime

from app.worker.wandb_jobs.job import Job, table
from app.worker.wandb_jobs.values import Kind, run_id


def trial_job(*, project: str, sink: str, by: str, asked: datetime, page: str, rev: int) -> Job:
    """One table of one row.

    Args:
        project: Our project's key.
        by: Who asked, and `asked` when.
        page: Address of the project's page.
        rev: Grows with every test.
    """
    kinds = {"Sink": Kind.TEXT, "Asked by": Kind.TEXT, "Asked": Kind.TEXT}
    return Job(
        run_id=run_id("test", project),
        rev=rev,
        name=f"test-{project}",
        job_type="test",
        tags=("test",),
        config={"source": page, "project": project},
        scalars={"test/number": rev},
        tables=(table("test/sink", kinds, [(sink, by, asked.isoformat(timespec="seconds"))]),),
    )
