"""The run `leaderboard-<project>`: every board of a project, as it stands now."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.evaluations import OVERALL, Bound
from app.domain.sentences import percent
from app.worker.wandb_jobs.job import Job, Table, table
from app.worker.wandb_jobs.values import Cell, Kind, finite, key_part, run_id, strict, written

TOP = 5
_KINDS: Mapping[str, Kind] = {
    "Suite": Kind.TEXT,
    "Stage": Kind.TEXT,
    "Metric": Kind.TEXT,
    "Group": Kind.TEXT,
    "Rank": Kind.NUMBER,
    "Run": Kind.TEXT,
    "Value": Kind.NUMBER,
    "Bound": Kind.TEXT,
    "Samples": Kind.NUMBER,
    "Worst group": Kind.TEXT,
    "Worst change": Kind.TEXT,
    "Worst worsening": Kind.NUMBER,
    "Gate": Kind.TEXT,
    "Eligible": Kind.FLAG,
    "Remark": Kind.TEXT,
    "Tags": Kind.TEXT,
    "Evaluated": Kind.TEXT,
    "Page": Kind.TEXT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One row of one board.

    Args:
        rank: From 1 among the eligible rows of its suite, stage, metric and group; None for one that is not eligible.
        value: In the metric's unit; NaN and ±∞ are values.
        n: How many samples it is the metric of; None when unknown.
        worst: The group that worsened most against the champion, and by how much (None: beyond any ratio).
        remark: Why the row is not eligible, or why it is suspect.
        page: Address of the evaluation's page.
    """

    suite: str
    stage: str
    metric: str
    group: str = OVERALL
    rank: int | None
    run: str
    value: float
    bound: Bound = Bound.EXACT
    n: int | None = None
    worst: tuple[str, float | None] | None = None
    gate: str
    eligible: bool = True
    remark: str = ""
    tags: tuple[str, ...] = ()
    evaluated: datetime
    page: str


def board_job(*, project: str, rows: Sequence[BoardRow], page: str, rev: int) -> Job:
    """The whole of every board, cut at the rows W&B shows, and the best five of each metric's overall.

    Args:
        project: Our project's key.
        rows: Board after board, each in its order.
        page: Address of the boards' page.
        rev: Grows with every newer state.
    """
    whole = board_table("leaderboard/full_table", rows)
    tops = [
        board_table(
            f"leaderboard/top_{TOP}_{part}", [row for row in rows if _is_top(row) and row.metric in metrics]
        )
        for part, metrics in _by_part(row.metric for row in rows if row.group == OVERALL).items()
    ]
    leaders = [row for row in rows if row.rank == 1 and row.group == OVERALL]
    scalars: dict[str, Cell] = {
        "leaderboard/rows": whole.total,
        "leaderboard/rows_shown": len(whole.rows),
        "leaderboard/runs": len({row.run for row in rows}),
    }
    # Of the first suite and stage that has the metric; the others stand in its table.
    for row in reversed(leaders):
        scalars[f"leaderboard/best_{key_part(row.metric)}"] = strict(row.value)
        scalars[f"leaderboard/best_run_{key_part(row.metric)}"] = strict(row.run)
    return Job(
        run_id=run_id("leaderboard", project),
        rev=rev,
        name=f"leaderboard-{project}",
        job_type="leaderboard",
        tags=("leaderboard",),
        config={"source": page, "project": project},
        scalars=scalars,
        tables=(whole, *tops),
    )


def board_table(name: str, rows: Sequence[BoardRow]) -> Table:
    return table(name, _KINDS, [_cells(row) for row in rows])


def _cells(row: BoardRow) -> tuple[object, ...]:
    group, worsening = row.worst or (None, None)
    # One diverged run must not make the column a text, by which nobody can sort.
    remarks = [] if math.isfinite(row.value) else [f"value is {written(row.value)}"]
    return (
        row.suite,
        row.stage,
        row.metric,
        row.group,
        row.rank,
        row.run,
        finite(row.value),
        row.bound.value,
        row.n,
        group,
        None if group is None else percent(worsening),
        worsening,
        row.gate,
        row.eligible,
        "; ".join([*remarks, *filter(None, [row.remark])]),
        ", ".join(row.tags),
        row.evaluated.isoformat(timespec="seconds"),
        row.page,
    )


def _is_top(row: BoardRow) -> bool:
    return row.group == OVERALL and row.rank is not None and row.rank <= TOP


def _by_part(metrics: Iterable[str]) -> dict[str, set[str]]:
    """Metrics by their part of a key, which two names that differ in a sign only share."""
    found: dict[str, set[str]] = {}
    for metric in metrics:
        found.setdefault(key_part(metric), set()).add(metric)
    return found
