"""Runs beside each other."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import uuid4

import pytest

from app.api.board_answers import SeedBoardAnswer
from app.api.compare_answers import CompareAnswer
from tests.api.calling import Caller, a_run, an_evaluation

COMPARE = "/projects/heights/compare"
HOSTILE = "=cmd() | <script>alert(1)</script> ::error::\u202e"


def crown(admin: Caller, evaluation: str, *, suite: str = "val") -> None:
    body = {"kind": "bootstrap", "evaluation": evaluation, "expected_version": 0, "reason": "first"}
    admin.post(f"/projects/heights/suites/{suite}/baseline/events", body)


def two_runs(admin: Caller) -> tuple[str, str]:
    """`old`, and `new`, which is better in a and worse in b; their ids."""
    old = a_run(
        admin,
        key="old",
        config={"lr": 0.1, "model": {"depth": 3, "act": None}, "out_dir": "/a", "seed": 1, "same": [1, 2]},
        seed=1,
        git_commit="a" * 40,
        environment={"python": "3.11.7", "git_dirty": False, "determinism": {"cudnn_benchmark": False}},
    )
    new = a_run(
        admin,
        key="new",
        config={
            "lr": 0.1,
            "model": {"depth": 0},
            "out_dir": "/b",
            "seed": 2,
            "same": [1, 2.0],
            "extra": True,
        },
        seed=2,
        git_commit="b" * 40,
        environment={
            "python": "3.11.7",
            "git_dirty": True,
            "determinism": {"cudnn_benchmark": True},
            "gpu": "H200",
        },
    )
    an_evaluation(admin, old, {"a": 0.2, "b": 0.2})
    an_evaluation(admin, new, {"a": 0.1, "b": 0.4})
    return old, new


def compare(admin: Caller, runs: str = "old,new", **query: Any) -> Any:
    return admin.get(COMPARE, query={"runs": runs, **query})


def test_only_the_configuration_that_differs_is_shown_and_absent_is_not_null(admin: Caller) -> None:
    two_runs(admin)

    answer = compare(admin)

    shown = {
        entry["key"]: (entry["values"], entry["absent"], entry["kind"])
        for entry in answer["config"]["different"]
    }
    assert shown == {
        "extra": ({"new": True}, ["old"], "recipe"),
        "model.act": ({"old": None}, ["new"], "recipe"),
        "model.depth": ({"old": 3, "new": 0}, [], "recipe"),
        "out_dir": ({"old": "/a", "new": "/b"}, [], "volatile"),
    }
    assert (answer["config"]["equal"], answer["config"]["same"]) == (2, None)
    assert answer["config"]["different"][-1]["key"] == "out_dir"
    assert [entry["values"] for entry in answer["seeds"]] == [{"old": 1, "new": 2}]


def test_what_is_the_same_comes_on_request(admin: Caller) -> None:
    two_runs(admin)

    answer = compare(admin, all="true")

    assert {entry["key"] for entry in answer["config"]["same"]} == {"lr", "same"}
    assert {entry["key"] for entry in answer["environment"]["same"]} == {"python"}


def test_determinism_versions_and_code_are_told_apart(admin: Caller) -> None:
    two_runs(admin)

    answer = compare(admin)

    assert [(entry["key"], entry["kind"]) for entry in answer["environment"]["different"]] == [
        ("determinism.cudnn_benchmark", "determinism"),
        ("gpu", "hardware"),
    ]
    assert answer["environment"]["equal"] == 1
    assert [(run["git_commit"][0], run["git_dirty"], run["seed"]) for run in answer["runs"]] == [
        ("a", False, 1),
        ("b", True, 2),
    ]


def test_numbers_stand_against_the_first_run_or_the_champion_or_the_one_asked_for(admin: Caller) -> None:
    _, new = two_runs(admin)

    first = compare(admin)["suites"][0]
    crown(admin, an_evaluation(admin, new, {"a": 0.1, "b": 0.4}, step=9)["evaluation"])
    champion = compare(admin)["suites"][0]
    asked = compare(admin, base="old")["suites"][0]

    assert [(one["base"], one["base_because"]) for one in (first, champion, asked)] == [
        ("old", "first"),
        ("new", "champion"),
        ("old", "asked"),
    ]
    in_b = next(row for row in first["rows"] if row["group"] == "b")
    assert (in_b["cells"]["old"]["change"], in_b["cells"]["new"]["change"]) == (None, 1.0)
    assert (in_b["cells"]["old"]["mark"], in_b["cells"]["new"]["mark"]) == ("best", "worst")
    against = next(row for row in champion["rows"] if row["group"] == "b")
    assert (against["cells"]["old"]["change"], against["cells"]["new"]["change"]) == (-0.5, None)
    assert [champion["evaluations"][key]["champion"] for key in ("old", "new")] == [False, True]


def test_aggregates_are_the_leaderboards_own_numbers(admin: Caller) -> None:
    old, _ = two_runs(admin)
    # The first champion's shares are the suite's weights for good.
    crown(admin, an_evaluation(admin, old, {"a": 0.2, "b": 0.2}, step=9)["evaluation"])
    run = a_run(admin, key="third")
    values = [
        {"metric": "mse", "group": "a", "value": 0.3, "n": 900},
        {"metric": "mse", "group": "b", "value": 0.6, "n": 100},
    ]
    admin.put(f"/runs/{run}/evaluations/{uuid4()}", {"suite": "val", "values": values})

    rows = compare(admin, "old,new,third")["suites"][0]["rows"]

    shown = {row["group"]: {key: cell["value"] for key, cell in row["cells"].items()} for row in rows}
    assert [row["kind"] for row in rows] == ["overall", "macro", "group", "group"]
    for group in ("overall", "macro", "a", "b"):
        board = admin.get("/projects/heights/suites/val/leaderboard", query={"group": group})["items"]
        assert shown[group] == {item["run"]: item["value"] for item in board}
    # The run's own n, 900 to 100, would make it 0.33.
    assert shown["overall"]["third"] == pytest.approx(0.45)


def test_a_run_stands_by_its_latest_valid_candidate_and_an_invalid_run_is_closed(admin: Caller) -> None:
    old, new = two_runs(admin)
    late = an_evaluation(admin, old, {"a": 0.01, "b": 0.01}, step=5)["evaluation"]
    admin.post(f"/evaluations/{late}/invalidate", {"reason": "wrong file"})
    an_evaluation(admin, old, {"a": 0.02, "b": 0.02}, step=9, purpose="progress")
    admin.post(f"/runs/{new}/invalidate", {"reason": "leak"})

    suite = compare(admin)["suites"][0]

    overall = suite["rows"][0]["cells"]
    assert overall["old"]["value"] == pytest.approx(0.2)
    closed = suite["evaluations"]["new"]
    assert (closed["gate"], closed["validity"], closed["is_latest"]) == ("closed", "invalid", True)
    assert "leak" in closed["reason"]


def test_only_shared_suites_are_shown_unless_one_is_named(admin: Caller) -> None:
    old, new = two_runs(admin)
    an_evaluation(admin, old, {"a": 1.0}, suite="test")
    for run in (old, new):
        an_evaluation(admin, run, {"a": 1.0}, stage="early")

    everything = compare(admin)
    named = compare(admin, suite="test")["suites"]
    early = compare(admin, stage="early")["suites"]

    assert [(one["suite"], one["stage"]) for one in everything["suites"]] == [
        ("val", "final"),
        ("val", "early"),
    ]
    assert everything["not_shared"] == [{"suite": "test", "stage": "final", "run": "old"}]
    assert [(one["suite"], one["absent"]) for one in named] == [("test", ["new"])]
    assert [one["stage"] for one in early] == ["early"]


def test_another_suite_version_is_shown_and_not_compared(admin: Caller) -> None:
    _, new = two_runs(admin)
    document = {"dataset": "other", "metrics": {"mse": "lower"}, "groups": [{"name": "a"}, {"name": "b"}]}
    admin.put("/projects/heights/suites/val", document)
    an_evaluation(admin, new, {"a": 0.1, "b": 0.1}, step=9)

    row = compare(admin)["suites"][0]["rows"][0]

    cell = row["cells"]["new"]
    assert (cell["change"], cell["reason"], cell["mark"]) == (None, "incomparable", None)
    assert "dataset" in cell["differing"]


def test_a_verdicts_own_aggregates_come_as_it_stored_them(admin: Caller) -> None:
    old, new = two_runs(admin)
    crown(admin, an_evaluation(admin, old, {"a": 0.2, "b": 0.2}, step=9)["evaluation"])
    verdict = an_evaluation(admin, new, {"a": 0.1, "b": 0.4}, step=9)

    found = compare(admin)["suites"][0]["against_champion"]

    stored = {one["name"]: one for one in verdict["aggregates"]}
    by_name = {one["name"]: one["runs"]["new"] for one in found}
    assert by_name.keys() <= stored.keys()
    assert (by_name["worst"]["group"], by_name["worst"]["worsening"]) == ("b", 1.0)
    assert by_name["geomean_ratio"]["value"] == stored["geomean_ratio"]["value"]


def test_runs_are_found_by_key_or_id_and_twenty_fit(admin: Caller) -> None:
    old, _ = two_runs(admin)
    for i in range(19):
        a_run(admin, key=f"r{i}")
    many = [old, *(f"r{i}" for i in range(19))]

    by_id = compare(admin, f"{old},new")
    in_parts = admin.get(COMPARE, query={"runs": ["new", "old"]})
    twenty = compare(admin, ",".join(many))

    assert [run["run"] for run in by_id["runs"]] == ["old", "new"]
    assert [run["run"] for run in in_parts["runs"]] == ["new", "old"]
    assert len(twenty["runs"]) == 20


@pytest.mark.parametrize(
    ("query", "status", "field", "words"),
    [
        pytest.param({"runs": "old"}, 422, "runs", "2 to 20 runs, not 1", id="one"),
        pytest.param({"runs": ",".join(map(str, range(21)))}, 422, "runs", "not 21", id="too many"),
        pytest.param({"runs": "old,old"}, 422, "runs", "old is named twice", id="twice"),
        pytest.param({"runs": "old,nobody"}, 404, None, "no run 'nobody'", id="unknown"),
        pytest.param({"runs": "old,"}, 404, None, "no run ''", id="empty"),
        pytest.param({"runs": "old,n\u00f6"}, 404, None, "no run", id="no key"),
        pytest.param({"runs": "old,new", "base": "third"}, 422, "base", "one of the runs", id="another base"),
        pytest.param(
            {"runs": "old,new", "suite": "nope"}, 422, "suite", "they have val/final", id="no suite"
        ),
        pytest.param(
            {"runs": "old,new", "stage": "nope"}, 422, "stage", "they have val/final", id="no stage"
        ),
        pytest.param({"runs": "old,new", "metric": "nope"}, 422, "metric", "'nope'", id="no metric"),
        pytest.param({}, 422, "runs", "", id="none"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(
    admin: Caller, query: dict[str, str], status: int, field: str | None, words: str
) -> None:
    two_runs(admin)

    response = admin.send("GET", COMPARE, query=query)

    problem = response.json()
    assert (response.status_code, problem["field"]) == (status, field)
    assert words in problem["detail"]


def test_a_run_of_another_project_is_not_there(admin: Caller) -> None:
    two_runs(admin)
    foreign = a_run(admin, project="other", key="foreign")

    by_key = admin.send("GET", COMPARE, query={"runs": "old,foreign"})
    by_id = admin.send("GET", COMPARE, query={"runs": f"old,{foreign}"})

    assert (by_key.status_code, by_id.status_code) == (404, 404)
    assert "foreign" in by_key.json()["detail"]


def test_the_same_run_by_key_and_by_id_is_named_twice(admin: Caller) -> None:
    old, _ = two_runs(admin)

    assert admin.send("GET", COMPARE, query={"runs": f"old,{old}"}).status_code == 422


def test_every_format_shows_the_same_and_no_name_does_harm(admin: Caller) -> None:
    two_runs(admin)
    a_run(admin, key="third", name=HOSTILE[:-1], config={HOSTILE: HOSTILE})

    texts = {
        kind: admin.send("GET", COMPARE, query={"runs": "old,new,third", "format": kind, "all": "true"})
        for kind in ("csv", "md", "html")
    }

    sheet = list(csv.DictReader(io.StringIO(texts["csv"].text)))
    by_name = {(row["section"], row["metric"], row["name"]): row for row in sheet}
    assert [by_name["config", "", "model.act"][key] for key in ("old", "new")] == ["null", ""]
    assert [by_name["config", "", "model.depth"][key] for key in ("old", "new", "third")] == ["3", "0", ""]
    in_b = by_name["group", "mse", "b"]
    assert (in_b["old"], in_b["new"], in_b["third"], in_b["change new"]) == ("0.2", "0.4", "", "1.0")
    assert texts["md"].text.count("\n### ") == 3
    assert "0.4 100 % worse (worst)" in texts["md"].text.replace("\\", "")
    assert "<h2>" in texts["html"].text
    for text in texts.values():
        assert text.status_code == 200
        assert "\u202e" not in text.text or text is texts["csv"]
        assert not any(line.startswith(("=", "::")) for line in text.text.splitlines())
    assert "<script" not in texts["html"].text + texts["md"].text


def test_the_described_examples_are_answers_that_the_service_could_give() -> None:
    compared = CompareAnswer.model_config["json_schema_extra"]["example"]  # type: ignore[index]
    board = SeedBoardAnswer.model_config["json_schema_extra"]["example"]  # type: ignore[index]

    assert CompareAnswer.model_validate(compared).model_dump(mode="json") == compared
    assert SeedBoardAnswer.model_validate(board).model_dump(mode="json") == board
