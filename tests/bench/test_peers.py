"""Trackers are timed only by points that can be read back, and one that cannot be had here is said to be missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.speed.peers.calls import Size, Tracker, log_calls, measured, ours, taken_from
from bench.speed.service import BenchmarkFailed, running

TINY = Size(calls=30, seconds=5.0, rounds=1)


def test_our_client_is_measured_and_what_cannot_be_installed_is_named(
    empty_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    absent = Tracker(call="absent: log()", program="log_absent", packages=(f"{tmp_path}/absent-tracker",))

    with running(empty_dir) as service:
        rows = log_calls(ours(service), [absent], tmp_path, TINY)
        kept = service.ask("GET", "/api/v1/projects/peers/runs")["items"]

    assert [row.what for row in rows] == [
        "truerun: log(), 10 numbers a step",
        "absent: log(), 10 numbers a step",
    ]
    assert "points/s until all can be read" in rows[0].measured
    assert rows[1].measured == "cannot be installed here"
    assert "absent-tracker" in rows[1].floor
    assert {run["name"] for run in kept} == {"paced", "fast"}


def test_a_program_that_fails_has_no_time(tmp_path: Path) -> None:
    nowhere = Tracker(call="truerun: log()", program="log_nothing")

    with pytest.raises(BenchmarkFailed, match="log_nothing"):
        measured(Path(sys.executable), nowhere, tmp_path, TINY)


def test_points_that_cannot_be_read_back_have_no_time() -> None:
    printed = {"p50_us": 5.0, "p99_us": 9.0, "points_per_second": 1e6, "logged": 100, "readable": 99}

    with pytest.raises(BenchmarkFailed, match="of 100 points 99 can be read back"):
        taken_from(f"hello\n{json.dumps(printed)}\nbye", call="some: log()")
    found = taken_from(json.dumps(printed | {"readable": 100}), call="some: log()")

    assert (found.p50_us, found.p99_us, found.points_per_second) == (5.0, 9.0, 1e6)
