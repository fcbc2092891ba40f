"""Several dispatchers over one W&B run: in the end it shows what the database says, whoever read and wrote when."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import sessionmaker

from app.db import Session, session_factory
from app.db.outbox import ClaimedMessage
from app.db.projects import ProjectRow
from app.services.runs import archive_run
from app.worker.sinks import Delivered
from app.worker.wandb_jobs.runner import Runner
from app.worker.wandb_sink import WandbSink
from tests.services.claims import GOOD, a_suite, board, posted
from tests.services.world import ADMIN, NOW, World, a_project, a_run
from tests.worker.owed import a_sink, claim, rows, until
from tests.worker.wandb.standin import KEY, Asked, Standin

ROOT = Path(__file__).parents[3]
CHANGES = 50
# All changes together take about as long as one job.
FEW = 20
Boards = dict[str, UUID]


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


@pytest.fixture
def boards(world: World, project: ProjectRow) -> Boards:
    """Two of a row each, which W&B shows in one run; whatever changes one owes a message of its own."""
    suites = {key: a_suite(world, key=key) for key in ("heights", "widths")}
    for key in suites:
        ranked(world, key, f"first-{key}")
    return suites


def ranked(world: World, suite: str, key: str) -> UUID:
    """A run with a row on the suite's board; returns its id."""
    run_id = a_run(world, key).run_id
    posted(world, run_id, GOOD, suite=suite)
    return run_id


def changed(world: World, run_id: UUID) -> None:
    """Rank a run no longer, which owes nothing but its board."""
    world.run(lambda session: archive_run(session, ADMIN, run_id=run_id, now=NOW))


def mirrored(world: World, project: ProjectRow, standin: Standin) -> None:
    a_sink(
        world,
        project.id,
        "mirror",
        kind="wandb",
        base_url=standin.url,
        entity="team",
        project="flows",
        mode="online",
    )


def in_the_database(world: World, project: ProjectRow, boards: Boards) -> dict[tuple[str, str], list[Any]]:
    """Every row, ranked or no longer, by suite and run."""
    return {
        (suite, item.run_key): [item.rank, item.value, item.gate, item.eligible, item.reason or ""]
        for suite, suite_id in boards.items()
        for item in board(world, project.id, suite_id, ineligible=True)
    }


def at_wandb(standin: Standin) -> dict[tuple[str, str], list[Any]]:
    table = standin.run("leaderboard-burgers").table("leaderboard/full_table")
    shown = ("Suite", "Run", "Rank", "Value", "Gate", "Eligible", "Remark")
    rows = [[row[table["columns"].index(name)] for name in shown] for row in table["data"]]
    return {(suite, run): rest for suite, run, *rest in rows}


def on_board(shown: dict[tuple[str, str], list[Any]]) -> set[str]:
    return {run for (_, run), row in shown.items() if row[0] is not None}


@contextmanager
def a_dispatcher(database_url: str, standin: Standin, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as it is deployed, in a process of its own."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        # The Postgres of the tests does not wait for the disk.
        "TRUERUN_DURABILITY": "waived",
        "TRUERUN_MIRROR_DIR": str(place / "mirror"),
        "TRUERUN_WANDB_BASE_URLS": standin.url,
        "WANDB_API_KEY": KEY,
    }
    place.mkdir()
    process = subprocess.Popen([sys.executable, "-m", "app.cli", "worker"], cwd=place, env=environ)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_fifty_quick_changes_under_two_dispatchers_are_few_jobs_and_the_last_table_is_the_databases(
    world: World, project: ProjectRow, boards: Boards, standin: Standin, database_url: str, tmp_path: Path
) -> None:
    suites = itertools.cycle(boards)
    leaving = [ranked(world, next(suites), f"run-{number}") for number in range(CHANGES)]
    mirrored(world, project, standin)

    def two_want_the_same_run() -> bool:
        return any("another worker is writing" in (row.last_error or "") for row in rows(world, "mirror"))

    def hold_the_first(_asked: Asked) -> None:
        standin.fault = lambda _asked: None
        until(two_want_the_same_run)

    standin.fault = hold_the_first
    with (
        a_dispatcher(database_url, standin, tmp_path / "one"),
        a_dispatcher(database_url, standin, tmp_path / "two"),
    ):
        for run_id in leaving[:2]:
            changed(world, run_id)
        until(two_want_the_same_run)
        for run_id in leaving[2:]:
            changed(world, run_id)
        until(lambda: all(row.delivered_at is not None for row in rows(world, "mirror")), seconds=120)

    owed = rows(world, "mirror")
    assert len(owed) == CHANGES
    held = standin.run("leaderboard-burgers").rows
    # Nobody wrote over another's row.
    assert [row["_step"] for row in held] == list(range(len(held)))
    # What is settled with another one shows no tries.
    assert 0 < sum(row.attempts > 0 for row in owed) < FEW
    assert at_wandb(standin) == in_the_database(world, project, boards)
    assert on_board(at_wandb(standin)) == {"first-heights", "first-widths"}
    assert {row.receipt for row in owed} == {f"{standin.url}/team/flows/runs/leaderboard-burgers"}


class Hooked(sessionmaker[Session]):
    """Sessions after whose first transaction something else happens."""

    happens: Callable[[], None] | None = None

    @contextmanager
    def begin(self) -> Iterator[Session]:  # type: ignore[override]
        with super().begin() as session:
            yield session
        hook, self.happens = self.happens, None
        if hook is not None:
            hook()


def a_dispatchers(world: World, runner: Runner, sessions: sessionmaker[Session] | None = None) -> WandbSink:
    return WandbSink(
        session_factory(world.engine) if sessions is None else sessions,
        runner,
        environ={"WANDB_API_KEY": KEY},
    )


def owed_for(world: World, boards: Boards) -> dict[str, ClaimedMessage]:
    """What is owed for each board, by suite."""
    by_id = {str(suite_id): suite for suite, suite_id in boards.items()}
    return {by_id[each.payload["suite"]]: each for each in claim(world, kinds=("wandb",))}


def test_what_was_owed_first_and_comes_last_brings_the_newest(
    world: World, project: ProjectRow, boards: Boards, standin: Standin, runner: Runner
) -> None:
    heights, later, widths = (
        ranked(world, suite, f"run-{number}") for number, suite in enumerate(["heights", "heights", "widths"])
    )
    mirrored(world, project, standin)
    changed(world, heights)
    changed(world, widths)
    owed = owed_for(world, boards)
    sink = a_dispatchers(world, runner)

    # The first one had to be tried again, and something more is settled with it.
    assert isinstance(sink.deliver(owed["widths"]), Delivered)
    changed(world, later)
    assert isinstance(sink.deliver(owed["heights"]), Delivered)

    assert at_wandb(standin) == in_the_database(world, project, boards)
    assert on_board(at_wandb(standin)) == {"first-heights", "first-widths"}


def test_what_was_read_before_another_wrote_is_not_written_over_it(
    world: World, project: ProjectRow, boards: Boards, standin: Standin, runner: Runner
) -> None:
    heights, later, widths = (
        ranked(world, suite, f"run-{number}") for number, suite in enumerate(["heights", "heights", "widths"])
    )
    mirrored(world, project, standin)
    changed(world, heights)
    changed(world, widths)
    owed = owed_for(world, boards)
    sessions = Hooked(world.engine)

    def the_other_is_quicker() -> None:
        changed(world, later)
        a_dispatchers(world, runner).deliver(owed["heights"])

    sessions.happens = the_other_is_quicker
    assert isinstance(a_dispatchers(world, runner, sessions).deliver(owed["widths"]), Delivered)

    assert at_wandb(standin) == in_the_database(world, project, boards)
    assert on_board(at_wandb(standin)) == {"first-heights", "first-widths"}
