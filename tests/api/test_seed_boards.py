"""Leaderboards with `seeds=mean`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import pytest

from app.api.dependencies import cursor_of
from tests.api.calling import Caller, a_run, an_evaluation

BOARD = "/projects/heights/suites/val/leaderboard"


def a_recipe(admin: Caller, lr: float, values: Sequence[float | str]) -> list[str]:
    """Runs `lr<lr>-<seed>` that differ only by their seed; their evaluations' ids."""
    evaluations = []
    for seed, value in enumerate(values):
        config = {"optimizer": {"lr": lr, "name": "adam"}, "seed": seed, "out_dir": f"/tmp/{lr}/{seed}"}
        run = a_run(admin, key=f"lr{lr}-{seed}", config=config, seed=seed, git_commit="c" * 40)
        evaluations.append(an_evaluation(admin, run, {"a": value})["evaluation"])  # type: ignore[dict-item]
    return evaluations


def crown(admin: Caller, evaluation: str) -> None:
    body = {"kind": "bootstrap", "evaluation": evaluation, "expected_version": 0, "reason": "first"}
    admin.post("/projects/heights/suites/val/baseline/events", body)


def means(admin: Caller, **query: Any) -> Any:
    return admin.get(BOARD, query={"seeds": "mean", **query})


def test_recipes_are_told_apart_by_what_differs_and_seeds_are_not_among_it(admin: Caller) -> None:
    a_recipe(admin, 0.1, [0.4, 0.5])
    a_recipe(admin, 0.01, [0.2, 0.3, 0.4])

    board = means(admin)

    assert (board["seeds"], board["champion"]) == ("mean", None)
    assert [(item["config"], item["n"], item["git_commit"]) for item in board["items"]] == [
        ({"optimizer.lr": 0.01}, 3, "c" * 40),
        ({"optimizer.lr": 0.1}, 2, "c" * 40),
    ]
    best = board["items"][0]["best"]
    assert (best["run"], best["seed"], best["value"]) == ("lr0.01-0", 0, 0.2)
    assert [run["run"] for run in board["items"][0]["runs"]] == ["lr0.01-0", "lr0.01-1", "lr0.01-2"]


def test_a_change_is_against_the_mean_of_the_champions_recipe_once_it_has_three_seeds(admin: Caller) -> None:
    crown(admin, a_recipe(admin, 0.1, [0.1, 0.4])[0])
    a_recipe(admin, 0.01, [0.3])

    with_two = means(admin)
    third = a_run(
        admin, key="third", config={"optimizer": {"lr": 0.1, "name": "adam"}}, seed=9, git_commit="c" * 40
    )
    an_evaluation(admin, third, {"a": 0.1})
    with_three = means(admin)

    assert (with_two["champion"]["basis"], with_two["champion"]["value"]) == ("value", 0.1)
    assert (with_three["champion"]["basis"], with_three["champion"]["n"]) == ("mean", 3)
    assert with_three["champion"]["value"] == pytest.approx(0.2)
    rows = {item["config"]["optimizer.lr"]: item for item in with_three["items"]}
    assert (rows[0.1]["champion"], rows[0.1]["change"]) == (True, 0)
    assert (rows[0.01]["champion"], rows[0.01]["change"]) == (False, pytest.approx(0.5))


def test_a_mean_that_leaves_a_diverged_seed_out_is_not_compared_and_stands_behind(admin: Caller) -> None:
    crown(admin, a_recipe(admin, 0.1, [0.5])[0])
    a_recipe(admin, 0.01, [0.1, "NaN"])

    item = means(admin)["items"][1]

    assert (item["mean"], item["n"], item["left_out"]["non_finite"], item["change"]) == (0.1, 1, 1, None)


def test_recipes_are_paged_by_cursor(admin: Caller) -> None:
    for i in range(5):
        a_recipe(admin, i / 10, [0.1 * (i + 1)])

    ranks, cursor = [], None
    while True:
        page = means(admin, limit=2, **({} if cursor is None else {"cursor": cursor}))
        ranks += [item["rank"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert ranks == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((1, 0, 0.1, "5b0c3a3e-6f1c-4d7e-8f57-3c1d0a2b4c5d"), id="of runs"),
        pytest.param(("mean", 1, 0, 0, "1e999999", "00"), id="a huge number"),
        pytest.param(("mean", 1, 0, 0, "NaN", "00"), id="no number"),
        pytest.param(("mean", 1, 0, 0, "1" * 5000, "00"), id="a long number"),
        pytest.param(("mean", 1, 9, 0, "1", "00"), id="no class"),
        pytest.param(("mean", 1, 0, 0, "1", "xx"), id="no recipe"),
        pytest.param(("mean", 2**70, 0, 0, "1", "00"), id="a large rank"),
        pytest.param(("mean", 1, 0, 0, 1.5, "00"), id="a float"),
    ],
)
def test_a_cursor_of_another_list_is_refused(admin: Caller, parts: tuple[Any, ...]) -> None:
    a_recipe(admin, 0.1, [0.5])

    response = admin.send("GET", BOARD, query={"seeds": "mean", "cursor": cursor_of(*parts)})

    assert (response.status_code, response.json()["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [({"rows": "evaluations"}, "rows"), ({"ineligible": "true"}, "ineligible"), ({"group": "c"}, "group")],
)
def test_what_a_mean_cannot_be_over_is_refused(admin: Caller, query: dict[str, str], field: str) -> None:
    a_recipe(admin, 0.1, [0.5])

    response = admin.send("GET", BOARD, query={"seeds": "mean", **query})

    assert (response.status_code, response.json()["field"]) == (422, field)


def test_means_come_in_every_format(admin: Caller) -> None:
    crown(admin, a_recipe(admin, 0.1, [0.1, 0.2, 0.3])[0])
    a_recipe(admin, 0.01, [0.5, "NaN"])

    texts = {
        kind: admin.send("GET", BOARD, query={"seeds": "mean", "format": kind})
        for kind in ("csv", "md", "html")
    }

    rows = list(csv.DictReader(io.StringIO(texts["csv"].text)))
    assert [(row["rank"], row["configuration"], row["n"], row["note"]) for row in rows] == [
        ("1", "optimizer.lr=0.1", "3", "champion"),
        ("2", "optimizer.lr=0.01", "1", "1 not finite"),
    ]
    assert "mean over seeds" in texts["md"].text
    assert texts["html"].text.count("<tr>") == 3


def test_a_group_that_the_suite_has_not_is_refused_by_name(admin: Caller) -> None:
    a_recipe(admin, 0.1, [0.5])

    response = admin.send("GET", BOARD, query={"group": "tier:nowhere"})

    assert response.status_code == 422
    assert response.json()["field"] == "group"
    assert "overall, macro and a" in response.json()["detail"]
