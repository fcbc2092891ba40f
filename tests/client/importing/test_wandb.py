from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.importing.trackers import KEY, Answer, Wandb, serving
from truerun.importing import SourceError, Unavailable
from truerun.importing.origin import Origin
from truerun.importing.past import Row, Tally
from truerun.importing.wandb import WandbProject
from truerun.importing.wandb_steps import Steps


@pytest.fixture
def wandb() -> Iterator[Wandb]:
    tracker = Wandb()
    with serving(tracker):
        yield tracker


def read(wandb: Wandb, **options: Any) -> dict[str, list[Row]]:
    """The rows of each run, by its name."""
    source = WandbProject(Origin(wandb.url, user=("api", KEY)), "pde", "burgers", **options)
    try:
        return {
            run.name: [row for row in run.rows(run.tally) if isinstance(row, Row)] for run in source.runs()
        }
    finally:
        source.close()


def test_every_page_of_runs_and_of_history_is_read(wandb: Wandb) -> None:
    for i in range(5):
        wandb.add(
            f"run-{i}",
            [{"_step": s, "_timestamp": s, "loss": s} for s in range(2500)],
            createdAt=f"2026-11-0{i + 1}",
        )

    found = read(wandb)

    assert list(found) == [f"run-{i}" for i in range(5)]
    assert all([row.step for row in rows] == list(range(2500)) for rows in found.values())


def test_steps_far_apart_are_read_in_few_requests_and_dense_ones_are_not_thinned(wandb: Wandb) -> None:
    far = [s * 1_000_000 for s in range(1, 20)]
    dense = range(30_000_000, 30_003_500)
    wandb.add("sparse", [{"_step": s, "_timestamp": s, "loss": s} for s in [*far, *dense]])

    found = read(wandb)["sparse"]

    assert [row.step for row in found] == [*far, *dense]
    # A thousand steps a request would take 30,000 of them.
    assert len(wandb.asked) < 100


def test_metrics_of_the_machine_are_brought_when_asked_for(wandb: Wandb) -> None:
    wandb.add("a", [{"_step": 7, "_timestamp": 1.0, "loss": 2.0}])
    wandb.events = ['{"system.gpu.0.gpu": 98.0, "_runtime": 15.2, "_timestamp": 16.5, "_wandb": true}']

    found = read(wandb, wants_system=True)["a"]

    assert found == [Row(7, 1.0, {"loss": 2.0}), Row(15, 16.5, {"system.gpu.0.gpu": 98.0})]


DEFINED = [
    {"1": "epoch"},
    {"2": "val/*", "5": 1},
    {"1": "val/own", "4": "time"},
    {"1": "a\\.b", "5": 1},
    {"5": 9},
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(7, {"val/x": 1.0, "epoch": 2.0})], [(2, "val/x"), (7, "epoch")]),
        ([(7, {"epoch": 2.0}), (8, {"val/x": 1.0})], [(7, "epoch"), (2, "val/x")]),
        ([(7, {"val/x": 1.0})], [(7, "val/x")]),
        ([(7, {"val/x": 1.0, "epoch": 0.5})], [(7, "val/x"), (7, "epoch")]),
        ([(7, {"val/x": 1.0, "epoch": float("nan")})], [(7, "val/x"), (7, "epoch")]),
        ([(7, {"val/own": 1.0, "epoch": 2.0, "time": 5.0})], [(5, "val/own"), (7, "epoch"), (7, "time")]),
        ([(7, {"a.b": 1.0, "epoch": 2.0})], [(2, "a.b"), (7, "epoch")]),
        ([(7, {"loss": 1.0, "epoch": 2.0})], [(7, "loss"), (7, "epoch")]),
    ],
    ids=["glob", "last known", "none yet", "no whole number", "NaN", "own before glob", "dot", "undefined"],
)
def test_a_metric_is_at_the_step_of_its_step_metric(
    rows: list[tuple[int, dict[str, float]]], expected: list[tuple[int, str]]
) -> None:
    steps = Steps(DEFINED)

    found = [part for step, values in rows for part in steps.split(step, values, Tally())]

    assert [(step, name) for step, values in found for name in values] == expected


def test_a_definition_that_cannot_be_read_defines_nothing() -> None:
    for definitions in (None, {"1": "x"}, ["x", {"5": 1}], [{"1": "x", "5": "one"}]):
        assert Steps(definitions).split(3, {"x": 1.0}, Tally()) == [(3, {"x": 1.0})]


def test_a_busy_service_is_asked_again_after_the_time_it_names(wandb: Wandb) -> None:
    pauses: list[float] = []
    origin = Origin(wandb.url, user=("api", KEY), pause=pauses.append)
    wandb.add("a", [])
    wandb.troubles.extend(
        [Answer({}, 429, {"retry-after": "7"}), Answer({}, 429, {"ratelimit-reset": "9"}), Answer({}, 503)]
    )
    try:
        assert len(list(WandbProject(origin, "pde", "burgers").runs())) == 1
        assert (len(pauses), pauses[0] >= 7, pauses[1] >= 9) == (3, True, True)
        wandb.troubles.extend([Answer({}, 500)] * 10)
        with pytest.raises(Unavailable, match="answered 500"):
            list(WandbProject(origin, "pde", "burgers").runs())
    finally:
        origin.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("api.wandb.ai", "no address"),
        ("http://tracker.example", "in the clear"),
        ("https://ana:secret@tracker.example", "holds no credential"),
        ("ftp://ana:secret@tracker.example", "no address"),
    ],
)
def test_a_credential_goes_neither_in_the_clear_nor_in_an_address(url: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        Origin(url, user=("api", KEY))

    assert "secret" not in str(caught.value)


def test_a_redirect_is_not_followed(wandb: Wandb) -> None:
    wandb.troubles.append(Answer({}, 302, {"location": "http://127.0.0.1:9/"}))
    origin = Origin(wandb.url, user=("api", KEY))
    try:
        with pytest.raises(SourceError, match="redirects"):
            list(WandbProject(origin, "pde", "burgers").runs())
    finally:
        origin.close()
