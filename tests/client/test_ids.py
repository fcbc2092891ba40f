"""Evaluation ids are UUIDv7 in the order they were drawn."""

from __future__ import annotations

import threading
import time

import pytest

from truerun.ids import new_id


def test_ids_are_version_7_and_carry_the_time() -> None:
    before = time.time_ns() // 1_000_000

    drawn = new_id()

    assert drawn.version == 7
    assert drawn.variant == "specified in RFC 4122"
    assert before - 1 <= drawn.int >> 80 <= time.time_ns() // 1_000_000 + 1000


def test_ids_drawn_later_are_larger_also_within_a_millisecond() -> None:
    drawn = [new_id() for _ in range(20_000)]

    assert drawn == sorted(drawn)
    assert [str(one) for one in drawn] == sorted(str(one) for one in drawn)
    assert len(set(drawn)) == len(drawn)


def test_a_clock_set_back_does_not_turn_the_order_round(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)

    second = new_id()

    assert second > first


def test_threads_never_draw_the_same_tick() -> None:
    drawn: list[int] = []

    def draw() -> None:
        drawn.extend(new_id().int >> 64 for _ in range(2_000))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(drawn)) == len(drawn)
