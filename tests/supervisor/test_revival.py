"""Starting Postgres again: at once, then with pauses, and not for ever when it ends again and again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from app.embedded import EmbeddedPostgresError
from app.supervisor.children import ServiceFailed
from app.supervisor.revival import MOST_ENDS, WITHIN_SECONDS, Revival


@dataclass
class FakePostgres:
    """Runs until it is told otherwise, and starts only if it can."""

    running: bool = True
    can_start: bool = True
    tries: int = 0

    def is_running(self) -> bool:
        return self.running

    def start_again(self) -> None:
        self.tries += 1
        if not self.can_start:
            raise EmbeddedPostgresError("No space left on device")
        self.running = True


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def a_revival() -> tuple[Revival, FakePostgres, Clock]:
    postgres, clock = FakePostgres(), Clock()
    return Revival(postgres, log=Path("server.log"), clock=clock), postgres, clock


def test_one_that_runs_is_left_alone() -> None:
    revival, postgres, _ = a_revival()

    revival.look()

    assert postgres.tries == 0


def test_one_that_ended_is_started_at_once() -> None:
    revival, postgres, _ = a_revival()
    postgres.running = False

    revival.look()

    assert (postgres.running, postgres.tries) == (True, 1)


def test_one_that_cannot_start_is_tried_with_growing_pauses_for_as_long_as_it_takes() -> None:
    revival, postgres, clock = a_revival()
    postgres.running = postgres.can_start = False
    tried_at = []
    for _ in range(600):
        before = postgres.tries
        revival.look()
        if postgres.tries > before:
            tried_at.append(round(clock.now, 1))
        clock.now += 0.1

    postgres.can_start = True
    clock.now += 10
    revival.look()

    assert tried_at[:6] == pytest.approx([0.0, 0.5, 1.5, 3.5, 7.5, 12.5], abs=0.3)
    assert postgres.running


def test_one_that_ends_again_and_again_is_named_with_its_log() -> None:
    revival, postgres, clock = a_revival()
    for _ in range(MOST_ENDS):
        postgres.running = False
        revival.look()
        clock.now += 1
    postgres.running = False

    with pytest.raises(ServiceFailed, match=r"6 times within 60 s; its log is server\.log"):
        revival.look()


def test_ends_of_long_ago_do_not_count() -> None:
    revival, postgres, clock = a_revival()
    for _ in range(3 * MOST_ENDS):
        postgres.running = False
        revival.look()
        clock.now += WITHIN_SECONDS / MOST_ENDS

    assert postgres.running
