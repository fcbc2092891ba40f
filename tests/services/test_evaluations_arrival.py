"""Given the same evaluations and events, what one reads in the end does not depend on the order of arrival."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID, uuid5

from app.db.leaderboards import Rows
from app.domain.evaluations import Stated
from app.domain.record import aggregate_to_document, check_to_document
from app.services.evaluations import PostedEvaluation
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_post,
    a_suite,
    alerts,
    board,
    bootstrapping,
    judge_again,
    posting,
    row_of,
    verdict,
)
from tests.services.world import World, a_project, a_run

_NAMES = UUID(int=7)
RUNS = {"solo": None, "seed-0": "sweep", "seed-1": "sweep"}
# Same size, other mix: whose shares become the suite's weights matters.
MIX = {"easy": 200, "mid": 300, "hard": 2500}
POSTS: dict[str, tuple[str, PostedEvaluation]] = {
    "a": ("solo", a_post(BAD, step=1)),
    "b": ("solo", a_post(BETTER, step=2, n=MIX)),
    "c": ("seed-0", a_post(BETTER, step=2)),
    "d": ("seed-1", a_post(BAD, step=1, stated=Stated(n=3))),
    "e": ("seed-1", a_post(BAD, step=3)),
}
ORDERS = list(itertools.permutations(POSTS))


def what_is_read(world: World, order: tuple[str, ...], *, crowned: str, number: int) -> dict[str, Any]:
    """Post in that order, the champion's evaluation and bootstrap first or last; then let the worker settle."""
    project = a_project(world, f"p{number}")
    suite_id = a_suite(world, project=project.key)
    runs = {key: a_run(world, key, project=project.key, run_group=group) for key, group in RUNS.items()}
    champion = a_run(world, "champion", project=project.key)
    ids = {name: uuid5(_NAMES, name) for name in (*POSTS, "champion")}
    names = {str(evaluation_id): name for name, evaluation_id in ids.items()}

    def crown() -> None:
        world.run(posting(champion.run_id, a_post(GOOD, step=1), evaluation_id=ids["champion"]))
        world.run(bootstrapping(ids["champion"], project=project.key))

    if crowned == "first":
        crown()
    for name in order:
        run, post = POSTS[name]
        world.run(posting(runs[run].run_id, post, evaluation_id=ids[name]))
    if crowned == "last":
        crown()
    judge_again(world, limit=2)

    verdicts = {}
    for name in POSTS:
        row = row_of(world, project.id, ids[name])
        found = verdict(world, project.id, ids[name])
        # An older evaluation of a run is no news any more; its last word is that of its own day.
        if row.is_latest or crowned == "first":
            verdicts[name] = {
                "gate": found.gate.value,
                "sentence": found.sentence,
                "checks": [check_to_document(check) for check in found.checks],
                "aggregates": [aggregate_to_document(column) for column in found.aggregates],
            }
    subjects = {f"run:{run.run_id}": f"run:{key}" for key, run in runs.items()}
    return {
        "verdicts": verdicts,
        "latest": sorted(name for name in POSTS if row_of(world, project.id, ids[name]).is_latest),
        # Whether an alert has once been open is a matter of arrival; whether it stands is not.
        "alerts": sorted(
            (
                subjects.get(row.subject, row.subject),
                row.alert.kind.value,
                row.alert.state.value,
                row.alert.count,
                names[str(row.evaluation_id)],
                row.alert.title,
                [line.text for line in row.alert.lines],
            )
            for row in alerts(world, project.id)
            if row.alert.state.value != "resolved"
        ),
        "boards": {
            (group, rows): [
                (names[str(item.evaluation_id)], item.rank, item.value, item.gate, item.stale)
                for item in board(world, project.id, suite_id, group=group, rows=rows)
            ]
            for group in ("overall", "hard", "tier:easy", "macro")
            for rows in Rows
        },
    }


def test_posts_in_any_order_after_the_champion_come_to_the_same(world: World) -> None:
    expected = what_is_read(world, ORDERS[0], crowned="first", number=0)

    for number, order in enumerate(ORDERS[1::6], start=1):
        assert what_is_read(world, order, crowned="first", number=number) == expected, order

    assert [alert[:4] for alert in expected["alerts"]] == [("group:sweep", "regression", "open", 2)]
    assert expected["latest"] == ["b", "c", "e"]


def test_posts_in_any_order_before_the_champion_come_to_the_same(world: World) -> None:
    expected = what_is_read(world, ORDERS[0], crowned="last", number=0)

    for number, order in enumerate(ORDERS[1::12], start=1):
        assert what_is_read(world, order, crowned="last", number=number) == expected, order


def test_the_newest_verdicts_do_not_tell_whether_the_champion_came_first_or_last(world: World) -> None:
    first = what_is_read(world, ORDERS[5], crowned="first", number=1)
    last = what_is_read(world, ORDERS[-5], crowned="last", number=2)

    assert {name: first["verdicts"][name] for name in last["verdicts"]} == last["verdicts"]
    for key, rows in last["boards"].items():
        if key[1] is Rows.RUNS:
            assert first["boards"][key] == rows
