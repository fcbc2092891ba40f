"""Leaderboards as tables for people and files."""

from __future__ import annotations

import json

from app.api.board_answers import BoardAnswer, SeedBoardAnswer, SeedBoardItemAnswer
from app.api.formats.table import Table
from app.domain.sentences import percent

_COLUMNS = (
    "rank",
    "run",
    "name",
    "value",
    "change",
    "worst group",
    "worst change",
    "gate",
    "n",
    "tags",
    "note",
)


def board_table(board: BoardAnswer) -> Table:
    return Table(
        title=_title(board),
        columns=_COLUMNS,
        rows=[
            (
                item.rank,
                item.run,
                item.name,
                item.value
                if item.bound == "exact"
                else f"{'≥' if item.bound == 'at_least' else '≤'} {item.value!r}",
                None if item.change is None else percent(item.change),
                item.worst.group if item.worst else None,
                percent(item.worst.worsening) if item.worst else None,
                item.gate + (" (stale)" if item.stale else ""),
                item.n,
                ", ".join(item.tags),
                "champion" if item.champion else item.reason,
            )
            for item in board.items
        ],
        numeric=frozenset({0, 3, 4, 6, 8}),
    )


_SEED_COLUMNS = (
    "rank",
    "configuration",
    "mean",
    "std",
    "n",
    "change",
    "best",
    "best run",
    "runs",
    "commit",
    "note",
)


def seed_board_table(board: SeedBoardAnswer) -> Table:
    """A row per recipe; what tells it apart from the others of the page stands in for its name."""
    return Table(
        title=f"{_title(board)}, mean over seeds",
        columns=_SEED_COLUMNS,
        rows=[
            (
                item.rank,
                ", ".join(f"{key}={_short(value)}" for key, value in item.config.items()),
                item.mean,
                item.std,
                item.n,
                None if item.change is None else percent(item.change),
                item.best.value if item.best.bound == "exact" else None,
                item.best.run,
                ", ".join(run.run for run in item.runs)
                + (f" and {item.more_runs} more" if item.more_runs > 0 else ""),
                None if item.git_commit is None else item.git_commit[:12],
                seed_note(item),
            )
            for item in board.items
        ],
        numeric=frozenset({0, 2, 3, 4, 5, 6}),
    )


def seed_note(item: SeedBoardItemAnswer) -> str | None:
    """Champion or not, and what its mean leaves out."""
    left = item.left_out
    notes = [
        "champion" if item.champion else "",
        f"{left.non_finite} not finite" if left.non_finite else "",
        f"{left.bounds} only a bound" if left.bounds else "",
        f"{left.repeated_seeds} of a seed that is there already" if left.repeated_seeds else "",
    ]
    return ", ".join(filter(None, notes)) or None


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _title(board: BoardAnswer | SeedBoardAnswer) -> str:
    return f"{board.suite}: {board.metric} {board.group}" + (
        "" if board.stage == "final" else f" ({board.stage})"
    )
