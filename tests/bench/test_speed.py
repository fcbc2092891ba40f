"""The benchmarks run, at a tiny size, and fail when what they time is not what they think; no time is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.speed.__main__ import Sizes, measure, page
from bench.speed.history import QUICK_SHAPES
from bench.speed.judging import judging
from bench.speed.peers.calls import Size
from bench.speed.rows import Times
from bench.speed.service import BenchmarkFailed, running
from bench.speed.training.paired import Pairs

TINY = Sizes(
    posts=2,
    shapes=QUICK_SHAPES,
    points=300,
    calls=20,
    runs=20,
    boards=(4, 8),
    asked=2,
    groups=3,
    judged=2,
    peers=Size(calls=20, seconds=0.5, rounds=1),
    pairs=Pairs(count=1, seconds=0.1, rest=0.1),
)


def test_every_benchmark_fills_its_row(empty_dir: Path) -> None:
    rows, facts = measure(TINY, empty_dir)

    written = page(rows, facts)
    named = " ".join(row.what for row in rows)
    for what in (
        "first start",
        "at rest",
        "answered with the verdict",
        "rows=runs",
        "seeds=mean",
        "assess",
        "records taken",
        "points read as 2,000",
        "log()",
    ):
        assert what in named
    assert all(row.measured[-1] in "s×B" and any(map(str.isdigit, row.measured)) for row in rows)
    assert all((row.is_met is None) == (row.aim == "") for row in rows)
    assert written.count("\n| ") == len(rows) + 1
    assert "fsync on, synchronous_commit on, full_page_writes on" in written


def test_a_request_that_is_refused_has_no_time(empty_dir: Path) -> None:
    with running(empty_dir) as service, pytest.raises(BenchmarkFailed, match="404"):
        service.ask("GET", "/api/v1/projects/nothing")


def test_the_middle_and_the_last_of_a_hundred() -> None:
    times = Times(tuple(float(i) for i in reversed(range(1, 101))))

    assert (times.p50, times.p99) == (50.5, 100.0)


def test_judging_is_timed_only_when_everything_was_judged() -> None:
    rows = judging(groups=2, metrics=2, times=2)

    assert [row.what for row in rows] == [
        "assess 2 groups × 2 metrics",
        "the same with four siblings on either side",
    ]
