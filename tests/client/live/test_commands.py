"""Commands of `truerun` that show and check, against the real service: their exit codes, words and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.client.live.golden import golden
from tests.client.live.heights import EASY, post
from tests.client.live.service import Live


def test_check_exits_by_the_gate(live: Live, heights: dict[str, Any]) -> None:
    assert live.say("check", "run-6").code == 1
    assert live.say("check", heights["run-6"], "--suite", "heights-val").code == 1
    assert live.say("check", "run-7", "--suite", "heights-val", "--stage", "final").code == 0
    assert live.say("check", "run-7", "--json").document["gate"] == "open"
    assert live.say("check", "run-9").code == 64
    assert live.say("check", heights["run-6"], "--suite", "other").code == 64
    assert live.say("check", "run-7", "--token", "trn_wrong000_x").code == 3
    assert live.say("check", "run-7", "--url", "http://127.0.0.1:1").code == 3


def test_a_summary_for_a_build_is_as_agreed(live: Live, heights: dict[str, Any]) -> None:
    golden("check-run-6.md", live.say("check", "run-6", "--md").out)
    golden("check-run-7.md", live.say("check", "run-7", "--md").out)


def test_a_gate_that_a_new_champion_has_outdated_is_not_open_until_judged_again(
    live: Live, heights: dict[str, Any]
) -> None:
    post(live.run("run-8", seed=1), "run2", scale=0.8)
    assert live.say("promote", "run-8", "--reason", "better everywhere").code == 0

    stale = live.say("check", "run-7", "--wait", "0")
    live.judge_again()
    judged = live.say("check", "run-7", "--wait", "0")

    assert stale.code == 2
    assert "stale" in stale.out
    assert judged.code == 1


def test_show_tells_everything_of_a_run_and_of_an_evaluation(live: Live, heights: dict[str, Any]) -> None:
    run = live.say("show", "run-6")
    evaluation = live.say("show", heights["run-6"])

    assert (run.code, evaluation.code) == (0, 0)
    assert "heights-val" in run.out
    assert heights["run-6"] in run.out
    assert all(group in evaluation.out for group in EASY)
    assert live.say("show", "run-6", "--json").document["key"] == "run-6"
    assert live.say("show", heights["run-6"], "--json").document["evaluation"] == heights["run-6"]
    run_id = live.say("show", "run-6", "--json").document["run_id"]
    assert live.say("show", run_id, "--json").document["key"] == "run-6"
    assert live.say("show", "run-9").code == 64
    assert live.say("show", "00000000-0000-7000-8000-000000000000").code == 64


def test_runs_are_listed_and_filtered(live: Live, heights: dict[str, Any]) -> None:
    assert [item["key"] for item in live.say("runs", "--json").document["items"]] == [
        "run-7",
        "run-6",
        "run-2",
    ]
    assert [item["key"] for item in live.say("runs", "--json", "--tag", "old").document["items"]] == ["run-2"]
    assert [item["key"] for item in live.say("runs", "--json", "--run-group", "g").document["items"]] == [
        "run-6"
    ]
    assert [item["key"] for item in live.say("runs", "--json", "--config", "lr=0.1").document["items"]] == [
        "run-7"
    ]
    assert len(live.say("runs", "--json", "--limit", "2", "--sort", "key").document["items"]) == 2
    golden("runs.txt", live.say("runs", "--sort", "key").out)
    empty = live.say("runs", "--status", "failed")
    assert (empty.code, empty.out, empty.err) == (0, "", "no run\n")
    assert live.say("runs", "--project", "nowhere").code == 64


def test_the_leaderboard_ranks_and_never_shows_the_regression_as_a_win(
    live: Live, heights: dict[str, Any]
) -> None:
    board = live.say("leaderboard", "heights-val", "--json").document

    assert {item["run"] for item in board["items"]} == {"run-2", "run-6", "run-7"}
    assert next(item for item in board["items"] if item["run"] == "run-6")["gate"] == "closed"
    golden("leaderboard.txt", live.say("leaderboard", "heights-val").out)
    group = live.say("leaderboard", "heights-val", "--group", "k=4,m=2", "--json").document["items"]
    assert [item["run"] for item in group] == ["run-7", "run-2", "run-6"]
    markdown = live.say("leaderboard", "heights-val", "--md")
    assert (markdown.code, markdown.out.count("\n|") >= 4) == (0, True)
    table = live.say("leaderboard", "heights-val", "--csv")
    assert len(table.out.strip().splitlines()) == 4
    assert live.say("leaderboard", "nowhere").code == 64


def test_recipes_are_ranked_by_the_mean_over_their_seeds(live: Live) -> None:
    for key, seed, lr, scale in (
        ("run-2", 1, 0.3, 1.0),
        ("run-7", 1, 0.1, 0.9),
        ("run-8", 2, 0.1, 1.04),
        ("run-9", 3, 0.1, 0.91),
        ("run-10", 3, 0.1, 9.0),
        ("run-11", 1, 0.2, 2.0),
        ("run-12", 2, 0.2, float("nan")),
    ):
        post(live.run(key, seed=seed, config={"lr": lr, "optimizer": {"name": "adam"}}), "run2", scale=scale)
    assert live.say("bootstrap", "run-2", "--reason", "first").code == 0

    said = live.say("leaderboard", "heights-val", "--seeds", "mean")

    assert said.code == 0
    golden("leaderboard-seeds.txt", said.out)
    items = live.say("leaderboard", "heights-val", "--seeds", "mean", "--json").document["items"]
    assert [item["n"] for item in items] == [3, 1, 1]
    assert live.say("leaderboard", "heights-val", "--seeds", "mean", "--format", "md").code == 0
    assert live.say("leaderboard", "heights-val", "--seeds", "mean", "--rows", "evaluations").code == 64
    assert live.say("leaderboard", "heights-val", "--seeds", "median").code == 64
    assert live.say("leaderboard", "heights-val", "--group", "nowhere").code == 64


def test_a_leaderboard_comes_in_every_form(live: Live, heights: dict[str, Any]) -> None:
    said = {
        form: live.say("leaderboard", "heights-val", "--group", "tier:easy", "--format", form)
        for form in ("text", "json", "md", "csv", "html")
    }

    assert {form: one.code for form, one in said.items()} == dict.fromkeys(said, 0)
    assert said["text"].out.startswith("log2_mse of tier:easy on heights-val")
    assert said["json"].document["group"] == "tier:easy"
    assert said["md"].out.startswith("### heights")
    assert said["csv"].out.startswith("rank,run,")
    assert said["html"].out.startswith("<!doctype html>")
    assert live.say("leaderboard", "heights-val", "--rows", "evaluations", "--json").code == 0
    assert live.say("leaderboard", "heights-val", "--md", "--csv").code == 64


def test_runs_are_set_beside_each_other(live: Live, heights: dict[str, Any]) -> None:
    run_id = live.say("show", "run-7", "--json").document["run_id"]

    said = live.say("compare", "run-2", "run-6", run_id)

    assert said.code == 0
    # The commit is this repository's, with a word more while something is not committed, which makes columns wider; and
    # what is known of the environment depends on the machine.
    text = re.sub(r"(?m)^commit .*$|(?<=the same in )\d+", "…", said.out)
    golden("compare.txt", re.sub(r" {2,}", "  ", text))
    assert live.say("compare", "run-2", "run-6", "--format", "csv").out.startswith("section,suite,stage,")
    assert live.say("compare", "run-2", "run-6", "--md").out.startswith("### codes")
    document = live.say("compare", "run-6", "run-7", "--base", "run-7", "--json").document
    assert [(one["base"], one["base_because"]) for one in document["suites"]] == [("run-7", "asked")]


def test_what_cannot_be_compared_is_a_usage_error(live: Live, heights: dict[str, Any]) -> None:
    alone = live.say("compare", "run-2")
    unknown = live.say("compare", "run-2", "run-99")
    twice = live.say("compare", "run-2", "run-2")

    assert (alone.code, unknown.code, twice.code, live.say("compare").code) == (64, 64, 64, 64)
    assert "2 to 20 runs" in alone.err
    assert "run-99" in unknown.err
    assert "run-2 is named twice" in twice.err
    assert live.say("compare", "run-2", "run-6", "--url", "http://127.0.0.1:1").code == 3


def test_results_go_out_and_come_in_as_csv(live: Live, heights: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"

    exported = live.say("export", "csv", "--suite", "heights-val", "--output", str(file))
    printed = live.say("export", "csv", "--suite", "heights-val")

    assert (exported.code, printed.code) == (0, 0)
    header, *rows = file.read_text().splitlines()
    assert header.startswith("run_id,label,timestamp,notes,tags,metric:")
    assert len(rows) == 3
    assert printed.out.splitlines()[0] == header
    old = tmp_path / "old.csv"
    old.write_text(
        "run_id,label,timestamp,notes,tags,metric:nrmse,metric:nrmse_pct\na,A,,,,0.1,5\nb,B,,,,0.2,6\n"
    )
    first = live.say("import", "csv", str(old), "--suite", "imported")
    again = live.say("import", "csv", str(old), "--suite", "imported", "--json")
    assert first.out == "2 created, 0 known already\n"
    assert "metric:nrmse_pct" in first.err
    assert (again.document["created"], again.document["known"]) == (0, 2)
    old.write_text("run_id,label,timestamp,notes,tags,metric:nrmse\nc,C,,,,many\n")
    wrong = live.say("import", "csv", str(old), "--suite", "imported")
    assert wrong.code == 64
    assert "line 2" in wrong.err
    assert live.say("import", "csv", str(tmp_path / "nowhere.csv"), "--suite", "s").code == 64


def test_whoami_and_config_say_who_and_where(live: Live) -> None:
    live.run("any").log_evaluation("s", {"nrmse": 0.1})

    me, config = live.say("whoami"), live.say("config", "--json")

    assert me.code == 0
    assert live.url in me.out
    assert "admin" in me.out
    assert (config.document["url"], config.document["token_from"]) == (live.url, "TRUERUN_TOKEN")
    assert live.token not in config.out


def test_the_project_is_found_when_nobody_names_it(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUERUN_PROJECT")
    nothing = live.say("runs")
    live.run("any").log_evaluation("s", {"nrmse": 0.1})
    only = live.say("runs", "--json")
    live.run("other", project="elsewhere").log_evaluation("s", {"nrmse": 0.1})
    several = live.say("runs")
    viewer = live.say(
        "token", "create", "--role", "viewer", "--label", "v", "--project", "elsewhere"
    ).out.strip()

    assert nothing.code == 64
    assert only.document["items"][0]["key"] == "any"
    assert several.code == 64
    assert "codes" in several.err
    assert live.say("runs", "--json", "--token", viewer).document["items"][0]["key"] == "other"


def test_a_file_is_posted_and_checked_in_one_go(live: Live, heights: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    run6 = live.say("show", heights["run-6"], "--json").document
    groups = {value["group"]: {"log2_mse": value["value"], "n": value["n"]} for value in run6["values"]}
    file.write_text(json.dumps({"groups": groups, "seed": 3, "config": {"lr": 1}}))

    checked = live.say("check", str(file), "--suite", "heights-val", "--name", "from CI", "--md")

    assert checked.code == 1
    assert checked.out.startswith("### Truerun: gate closed\n")
    posted = live.say("runs", "--json", "--limit", "1").document["items"][0]
    assert (posted["name"], posted["status"], posted["seed"]) == ("from CI", "finished", 3)
    joined = live.say("check", str(file), "--suite", "heights-val", "--run", "run-7", "--json")
    assert joined.document["run"] == "run-7"
    file.write_text('{"my_err": 0.1}')
    unknown = live.say("check", str(file), "--suite", "brand-new")
    assert unknown.code == 64
    assert 'metrics={"my_err": "lower"}' in unknown.err
