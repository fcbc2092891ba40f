from __future__ import annotations

import math
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from app.db.run_lists import RunFilter
from app.domain.access import Actor, Role
from app.errors import Forbidden, InvalidInput
from app.services.runs import list_runs
from tests.services.world import ADMIN, World, a_project, a_run, somebody


def keys(
    world: World,
    *,
    sort: str = "key",
    where: RunFilter | None = None,
    limit: int = 50,
    project: str = "burgers",
) -> list[str]:
    """The keys of all pages of that size."""
    after: list[Any] | None = None
    found: list[str] = []
    while True:
        with world.transaction() as session:
            page = list_runs(
                session,
                ADMIN,
                project_key=project,
                where=where or RunFilter(),
                sort=sort,
                limit=limit,
                after=after,
            )
        found += [row.key for row in page.items]
        after = page.next_after
        if after is None:
            return found


@pytest.fixture
def listed(world: World) -> World:
    """Runs a to h, whose config.lr is of every kind."""
    a_project(world)
    a_project(world, "other")
    a_run(world, "elsewhere", project="other", config={"lr": 1})
    rates = [10, 2.5, "fast", None, math.nan, True, 1e-5, [1]]
    for key, rate, minutes in zip("abcdefgh", rates, count(), strict=False):
        nested = {"optimizer": {"lr": rate}} if key in "ab" else {"optimizer.lr": rate}
        a_run(world, key, minutes=minutes // 2, name=f"run {minutes // 3}", config={"lr": rate, **nested})
    a_run(world, "i", minutes=9, name="Run")
    return world


LR_ASCENDING = "gba" + "cf" + "e"


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("sort", "begins"),
    [
        ("key", "abcdefghi"),
        ("-key", "ihgfedcba"),
        ("config.lr", LR_ASCENDING),
        ("-config.lr", "abg" + "fc" + "e"),
        ("config.optimizer.lr", LR_ASCENDING),
        ("-created_at", "i"),
        ("created_at", ""),
        ("updated_at", ""),
        ("name", "i"),
        ("-name", ""),
        ("config.absent", ""),
    ],
)
def test_every_order_shows_each_run_once_whatever_the_page(
    listed: World, sort: str, begins: str, limit: int
) -> None:
    found = keys(listed, sort=sort, limit=limit)

    assert "".join(found).startswith(begins)
    assert sorted(found) == list("abcdefghi")
    assert found == keys(listed, sort=sort)


def test_descending_is_ascending_turned_round_but_for_what_comes_last(listed: World) -> None:
    for sort in ("created_at", "name"):
        assert keys(listed, sort=f"-{sort}") == keys(listed, sort=sort)[::-1]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (RunFilter(key="b"), "b"),
        (RunFilter(config={"lr": "2.5"}), "b"),
        (RunFilter(config={"lr": "0.00001"}), "g"),
        (RunFilter(config={"lr": "10.0"}), "a"),
        (RunFilter(config={"lr": "fast"}), "c"),
        (RunFilter(config={"lr": "True"}), "f"),
        (RunFilter(config={"lr": "NaN"}), "e"),
        (RunFilter(config={"optimizer.lr": "10"}), "a"),
        (RunFilter(config={"optimizer.lr": "fast"}), "c"),
        (RunFilter(config={"lr": "10", "optimizer.lr": "2.5"}), ""),
        (RunFilter(config={"absent": "1"}), ""),
        (RunFilter(status="running"), "abcdefghi"),
        (RunFilter(status="finished"), ""),
        (RunFilter(validity="invalid"), ""),
        (RunFilter(run_group="g"), ""),
    ],
)
def test_a_filter_finds_what_it_names(listed: World, where: RunFilter, found: str) -> None:
    assert "".join(keys(listed, where=where)) == found


def test_all_tags_must_be_there(world: World) -> None:
    a_project(world)
    a_run(world, "a", tags=("x", "y"), run_group="g")
    a_run(world, "b", tags=("x",))

    assert keys(world, where=RunFilter(tags=("x",))) == ["a", "b"]
    assert keys(world, where=RunFilter(tags=("y", "x"))) == ["a"]
    assert keys(world, where=RunFilter(run_group="g")) == ["a"]


def test_a_page_is_not_disturbed_by_runs_that_arrive_meanwhile(world: World) -> None:
    a_project(world)
    for minutes, key in enumerate("abcd"):
        a_run(world, key, minutes=minutes)

    def page(after: list[Any] | None) -> tuple[list[str], list[Any] | None]:
        with world.transaction() as session:
            found = list_runs(session, ADMIN, project_key="burgers", where=RunFilter(), limit=2, after=after)
        return [row.key for row in found.items], found.next_after

    first, after = page(None)
    a_run(world, "newer", minutes=99)
    second, end = page(after)

    assert (first, second, end) == (["d", "c"], ["b", "a"], None)


def test_a_cursor_of_another_list_is_refused(listed: World) -> None:
    def after(sort: str, cursor: list[Any] | None = None) -> list[Any]:
        with listed.transaction() as session:
            found = list_runs(
                session, ADMIN, project_key="burgers", where=RunFilter(), sort=sort, limit=1, after=cursor
            )
        return found.next_after or []

    wrong: list[tuple[str, list[Any]]] = [
        ("key", after("-key")),
        ("key", after("name")),
        ("key", after("config.lr")),
        ("config.lr", after("config.optimizer.lr")),
        ("key", []),
        ("key", ["key", "a"]),
        ("key", ["key", "a", "b"]),
        ("key", ["key", "a\0", str(uuid4())]),
        ("key", ["key", "\ud800", str(uuid4())]),
        ("key", ["key", 1, str(uuid4())]),
        ("created_at", ["created_at", "yesterday", str(uuid4())]),
        ("config.lr", ["config.lr", 0, "x", "", str(uuid4())]),
        ("config.lr", ["config.lr", 2**70, 0.0, "", str(uuid4())]),
        ("config.lr", ["config.lr", 0, 10**400, "", str(uuid4())]),
        ("config.lr", ["config.lr", True, 0.0, "", str(uuid4())]),
    ]
    for sort, cursor in wrong:
        with pytest.raises(InvalidInput) as caught:
            after(sort, cursor)
        assert caught.value.field == "cursor"


@pytest.mark.parametrize("sort", ["", "-", "loss", "config.", "recipe", "config.a\0"])
def test_an_order_that_does_not_exist_is_refused(world: World, sort: str) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        keys(world, sort=sort)

    assert caught.value.field == "sort"


def test_text_that_postgres_cannot_compare_is_refused(world: World) -> None:
    a_project(world)

    for where in (RunFilter(key="\0"), RunFilter(tags=("\0",)), RunFilter(config={"a": "\ud800"})):
        with pytest.raises(InvalidInput):
            keys(world, where=where)


def test_viewers_list_and_run_tokens_do_not(world: World) -> None:
    project = a_project(world)

    def listing(actor: Actor) -> None:
        with world.transaction() as session:
            list_runs(session, actor, project_key="burgers", where=RunFilter(), limit=1)

    listing(somebody(Role.VIEWER, project))
    with pytest.raises(Forbidden):
        listing(somebody(Role.RUN, project, run=uuid4()))
