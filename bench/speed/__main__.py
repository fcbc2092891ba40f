"""`make bench`; PEERS=1 measures other trackers too, TRAIN=1 a training; `--quick` is small and writes no page."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import psycopg

from app.embedded import embedded_postgres
from bench.speed.boards import boards
from bench.speed.client_log import client_log
from bench.speed.history import QUICK_SHAPES, SHAPES, Shape, histories
from bench.speed.judging import judging
from bench.speed.peers.beside import peers
from bench.speed.peers.calls import Size
from bench.speed.posting import posting
from bench.speed.rows import Row, machine
from bench.speed.service import BenchmarkFailed, running
from bench.speed.training.paired import Pairs, training

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
START_AIM_SECONDS, MEMORY_AIM_MIB = 5.0, 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    posts: int
    shapes: tuple[Shape, ...]
    points: int
    calls: int
    runs: int
    boards: tuple[int, int]
    asked: int
    groups: int
    judged: int
    peers: Size
    pairs: Pairs


FULL = Sizes(
    shapes=SHAPES,
    points=1_000_000,
    calls=20_000,
    runs=10_000,
    posts=300,
    boards=(10_000, 100_000),
    asked=200,
    groups=1000,
    judged=20,
    peers=Size(),
    pairs=Pairs(),
)
QUICK = Sizes(
    shapes=QUICK_SHAPES,
    points=500,
    calls=200,
    runs=50,
    posts=5,
    boards=(20, 60),
    asked=5,
    groups=20,
    judged=2,
    peers=Size(calls=200, seconds=1.0, rounds=1),
    pairs=Pairs(count=2, seconds=0.5, rest=0.2),
)


def measure(sizes: Sizes, place: Path, *, asked_for: Container[str] = ()) -> tuple[list[Row], list[str]]:
    """Every row, and the machine it was measured on.

    Args:
        place: An empty directory that the user running Postgres may pass through.
        asked_for: PEERS and TRAIN, which install what they need.
    """
    with running(place) as service:
        rows = [_start("first start, an empty data directory, to ready", service.seconds_to_ready)]
    with running(place) as service, embedded_postgres(place / "data") as postgres:
        rows.append(_start("start on existing data, to ready", service.seconds_to_ready))
        rows.append(_memory("API memory at rest", service.api_memory_bytes(), aim=MEMORY_AIM_MIB))
        rows.append(posting(service, place, posts=sizes.posts))
        rows.append(_memory(f"API memory after {sizes.posts} posts", service.api_memory_bytes()))
        url = postgres.url()
        rows += histories(service, url, shapes=sizes.shapes, points=sizes.points, runs=sizes.runs)
        rows += boards(service, url, counts=sizes.boards, asked=sizes.asked)
        if "PEERS" in asked_for:
            count = sizes.boards[1]
            rows += peers(service, url, place, board=f"board-{count}", count=count, size=sizes.peers)
        if "TRAIN" in asked_for:
            rows.append(training(service, place, sizes.pairs))
        settings = _settings(url)
    rows.append(client_log(calls=sizes.calls))
    rows += judging(groups=sizes.groups, times=sizes.judged)
    return rows, machine(settings)


def page(rows: list[Row], facts: list[str]) -> str:
    lines = ["| what | measured | aim | met | beside it |", "|---|---|---|---|---|"]
    for row in rows:
        met = "" if row.is_met is None else "yes" if row.is_met else "**no**"
        lines.append(f"| {row.what} | {row.measured} | {row.aim} | {met} | {row.floor} |")
    return "\n".join([_HEAD, *(f"- {fact}" for fact in facts), "", *lines, ""])


_HEAD = """# Benchmarks

Written by `make bench` (`PEERS=1` measures other trackers in the same run, `TRAIN=1` a training). The service is the
real one, started with `truerun-server up` on its own Postgres with `fsync` on, asked over one kept-alive connection on
loopback. What stands beside a number was measured in turn with it, so the ratio holds on a busy machine too.
"""


def _start(what: str, seconds: float) -> Row:
    return Row(
        what=what,
        measured=f"{seconds:.1f} s",
        aim=f"≤ {START_AIM_SECONDS:.0f} s",
        is_met=seconds <= START_AIM_SECONDS,
    )


def _memory(what: str, size: int, *, aim: float | None = None) -> Row:
    mib = size / 2**20
    return Row(
        what=what,
        measured=f"{mib:.0f} MiB",
        aim="" if aim is None else f"≤ {aim:.0f} MiB",
        is_met=None if aim is None else mib <= aim,
    )


def _settings(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'), "
            "current_setting('synchronous_commit'), current_setting('full_page_writes')"
        ).fetchone()
    version, fsync, synchronous, full_pages = found or ("?", "?", "?", "?")
    return (
        f"Postgres {version} (fsync {fsync}, synchronous_commit {synchronous}, full_page_writes {full_pages})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    asked = parser.parse_args()
    # So that every block is left, and what was started in it ended; as it is, only Ctrl-C does that.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="truerun-bench-") as name:
        place = Path(name)
        # As root, Postgres runs as another user, who must be able to pass through.
        place.chmod(0o711)
        try:
            sizes = QUICK if asked.quick else FULL
            asked_for = {name for name in ("PEERS", "TRAIN") if os.environ.get(name, "0") not in ("", "0")}
            rows, facts = measure(sizes, place, asked_for=asked_for)
        except BenchmarkFailed as error:
            sys.stderr.write(f"bench: {error}\n")
            return 1
    text = page(rows, facts)
    sys.stdout.write(text)
    if not asked.quick:
        PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
