"""Leaderboards in every format, and files of runs."""

from __future__ import annotations

from tests.api.calling import Caller, a_run, an_evaluation

HOSTILE = "=cmd() | <script>alert(1)</script> ::error:: שלום"
BOARD = "/projects/heights/suites/val/leaderboard"


def a_board(admin: Caller) -> dict[str, str]:
    """Three runs; the first is champion, the second better, the third invalid."""
    ids = {}
    for key, groups in (
        ("first", {"a": 0.2, "b": 0.4}),
        ("second", {"a": 0.1, "b": 0.2}),
        ("third", {"a": 0.0, "b": 0.1}),
    ):
        ids[key] = a_run(admin, key=key, name=HOSTILE, tags=[HOSTILE])
        evaluation = an_evaluation(admin, ids[key], groups)["evaluation"]
        if key == "first":
            body = {"kind": "bootstrap", "evaluation": evaluation, "expected_version": 0, "reason": "first"}
            admin.post("/projects/heights/suites/val/baseline/events", body)
    admin.post(f"/runs/{ids['third']}/invalidate", {"reason": "leak"})
    return ids


def test_a_board_ranks_the_valid_runs_with_their_change_against_the_champion(admin: Caller) -> None:
    a_board(admin)

    board = admin.get(BOARD)

    assert (board["metric"], board["group"], board["direction"]) == ("mse", "overall", "lower")
    assert [(item["rank"], item["run"], item["champion"]) for item in board["items"]] == [
        (1, "second", False),
        (2, "first", True),
    ]
    assert board["items"][0]["change"] == -0.5
    assert board["champion"]["run"] == "first"


def test_ineligible_rows_come_on_request_with_their_reason_and_no_rank(admin: Caller) -> None:
    a_board(admin)

    items = admin.get(BOARD, query={"ineligible": "true"})["items"]

    third = next(item for item in items if item["run"] == "third")
    assert (third["rank"], third["eligible"], third["gate"]) == (None, False, "closed")
    assert "leak" in third["reason"]


def test_a_board_is_paged_by_cursor(admin: Caller) -> None:
    a_board(admin)

    first = admin.get(BOARD, query={"limit": 1})
    second = admin.get(BOARD, query={"limit": 1, "cursor": first["next_cursor"]})

    assert [[item["rank"] for item in page["items"]] for page in (first, second)] == [[1], [2]]
    assert second["next_cursor"] is None


def test_hostile_names_are_harmless_in_every_format(admin: Caller) -> None:
    a_board(admin)

    texts = {kind: admin.send("GET", BOARD, query={"format": kind}) for kind in ("csv", "md", "html")}

    assert {kind: response.status_code for kind, response in texts.items()} == {
        "csv": 200,
        "md": 200,
        "html": 200,
    }
    assert texts["csv"].headers["content-type"].startswith("text/csv")
    assert "'=cmd()" in texts["csv"].text
    assert "<script" not in texts["html"].text
    assert "<script" not in texts["md"].text
    assert "<bdi>" in texts["html"].text


def test_a_group_and_a_tier_can_be_ranked_and_an_unknown_metric_is_refused(admin: Caller) -> None:
    a_board(admin)

    by_group = admin.get(BOARD, query={"group": "b"})
    refused = admin.send("GET", BOARD, query={"metric": "nonsense"})

    assert [item["value"] for item in by_group["items"]] == [0.2, 0.4]
    assert refused.status_code == 422
    assert refused.json()["field"] == "metric"


def test_a_csv_file_comes_in_once_and_goes_out_as_it_came(admin: Caller) -> None:
    admin.post("/projects", {"key": "pde"})
    text = (
        "run_id,label,timestamp,notes,tags,metric:nrmse,metric:nrmse_pct\n"
        "r1,U-net,2026-01-01,first,a;b,0.12,-3\nr2,FNO,2026-01-02,,,0.1,5\n"
    )
    csv = {"Content-Type": "text/csv"}

    first = admin.send("POST", "/projects/pde/import/csv", content=text, headers=csv, query={"suite": "val"})
    again = admin.send("POST", "/projects/pde/import/csv", content=text, headers=csv, query={"suite": "val"})
    out = admin.send("GET", "/projects/pde/runs.csv", query={"suite": "val"})

    assert first.json() == {"created": 2, "known": 0, "skipped_columns": ["metric:nrmse_pct"]}
    assert again.json()["known"] == 2
    lines = out.text.splitlines()
    assert lines[0] == "run_id,label,timestamp,notes,tags,metric:nrmse"
    assert lines[1].startswith("r1,U-net,")
    assert lines[1].endswith(",first,a;b,0.12")
    assert lines[2].endswith(",,,0.1")


def test_a_csv_file_with_a_bad_line_brings_nothing_in(admin: Caller) -> None:
    admin.post("/projects", {"key": "pde"})
    text = "run_id,metric:nrmse\nr1,0.1\nr 2,0.2\n"

    response = admin.send(
        "POST",
        "/projects/pde/import/csv",
        content=text,
        headers={"Content-Type": "text/csv"},
        query={"suite": "val"},
    )

    assert response.status_code == 422
    assert "line 3" in response.text
    assert admin.get("/projects/pde/runs")["items"] == []


def test_the_same_csv_run_with_other_numbers_is_a_conflict(admin: Caller) -> None:
    admin.post("/projects", {"key": "pde"})
    csv = {"Content-Type": "text/csv"}
    for value in ("0.1", "0.2"):
        response = admin.send(
            "POST",
            "/projects/pde/import/csv",
            content=f"run_id,metric:nrmse\nr1,{value}\n",
            headers=csv,
            query={"suite": "val"},
        )

    assert response.status_code == 409
    assert "line 2" in response.json()["detail"]
