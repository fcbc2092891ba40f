"""Every command of `truerun` against the real service: its exit code, its words, its JSON."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.client.live.heights import EASY, post
from tests.client.live.service import Live

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def heights(live: Live) -> dict[str, Any]:
    """Run 2 is champion, run 6 was posted after it, run 7 equals run 2 but for a hundredth."""
    evaluations = {"run-2": post(live.run("run-2", name="run 2", seed=1, tags=["old"]), "run2").evaluation}
    assert live.say("bootstrap", "run-2", "--reason", "first").code == 0
    evaluations["run-6"] = post(live.run("run-6", name="run 6", seed=1, run_group="g"), "run6").evaluation
    evaluations["run-7"] = post(live.run("run-7", seed=1, config={"lr": 0.1}), "run2", scale=0.99).evaluation
    while live.judge_again():
        pass
    return evaluations


def golden(name: str, text: str) -> None:
    """Compare with what was agreed, but for ids and times."""
    plain = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", text)
    plain = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d[\d:.+Z]*", "<time>", plain)
    plain = re.sub(r"trn_[a-z0-9]{8}", "<token>", plain)
    file = GOLDEN / name
    if os.environ.get("TRUERUN_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(plain, encoding="utf-8")
    assert plain == file.read_text(encoding="utf-8")


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


def test_promotion_asks_the_gate_and_names_the_way_out(live: Live, heights: dict[str, Any]) -> None:
    closed = live.say("promote", "run-6")
    again = live.say("promote", "run-2", "--bootstrap")
    speechless = live.say("promote", "run-6", "--override")
    done = live.say("promote", "run-7")

    assert (closed.code, again.code, speechless.code, done.code) == (1, 1, 64, 0)
    assert "not promoted" in closed.err
    assert "leave out --bootstrap" in again.err
    assert "--reason" in speechless.err
    assert "run-7 is champion of heights-val, stage final now (version 2, promote)" in done.out
    forced = live.say("promote", "run-6", "--override", "--reason", "we know", "--json")
    assert (forced.code, forced.document["version"], forced.document["kind"]) == (0, 3, "override")


def test_without_a_champion_the_way_out_is_bootstrap(live: Live) -> None:
    post(live.run("run-2", seed=1), "run2")

    refused = live.say("promote", "run-2")

    assert refused.code == 1
    assert "--bootstrap" in refused.err


def test_the_seat_goes_back_and_its_history_stays(live: Live, heights: dict[str, Any]) -> None:
    assert live.say("promote", "run-7").code == 0

    back = live.say("rollback", "heights-val", "--reason", "7 was a mistake")

    assert back.code == 0
    assert "run-2 is champion of heights-val" in back.out
    events = live.say("champions", "heights-val", "--json").document
    assert [event["kind"] for event in events["events"]] == ["rollback", "promote", "bootstrap"]
    assert events["evaluation"]["run"] == "run-2"
    golden("champions.txt", live.say("champions", "heights-val").out)
    chosen = live.say("rollback", "heights-val", "--to", "1", "--reason", "there already")
    assert chosen.code in (0, 1)


def test_an_invalid_champion_loses_its_seat_and_gets_its_validity_back_only(
    live: Live, heights: dict[str, Any]
) -> None:
    assert live.say("promote", "run-7").code == 0

    gone = live.say("invalidate", "run-7", "--reason", "wrong data")

    assert (gone.code, gone.out) == (0, "run run-7 is invalid now\n")
    assert live.say("champions", "heights-val", "--json").document["evaluation"]["run"] == "run-2"
    assert live.say("check", "run-7", "--wait", "0").code != 0
    assert live.say("runs", "--validity", "invalid", "--json").document["items"][0]["key"] == "run-7"
    restored = live.say("restore", "run-7", "--reason", "it was right")
    assert restored.out == "run run-7 is valid now\n"
    assert live.say("champions", "heights-val", "--json").document["evaluation"]["run"] == "run-2"


def test_one_evaluation_can_be_suspect_or_invalid(live: Live, heights: dict[str, Any]) -> None:
    suspect = live.say("invalidate", heights["run-7"], "--suspect", "--reason", "looks odd")
    assert suspect.out == f"evaluation {heights['run-7']} is suspect now\n"
    assert live.say("check", "run-7", "--wait", "0").code == 0

    live.say("invalidate", heights["run-7"], "--reason", "it was odd")
    assert live.say("check", "run-7", "--wait", "0").code == 1

    assert live.say("restore", heights["run-7"], "--reason", "fixed", "--json").code == 0
    assert live.say("invalidate", "run-7").code == 64


def test_alerts_are_listed_acknowledged_muted_and_resolved(live: Live, heights: dict[str, Any]) -> None:
    items = live.say("alerts", "--json").document["items"]
    alert = next(item for item in items if item["kind"] == "regression")

    listed = live.say("alerts")
    acked = live.say("alerts", "ack", alert["id"], "--reason", "on it")
    muted = live.say("alerts", "mute", alert["id"], "--until", "2h", "--reason", "known", "--json")
    resolved = live.say("alerts", "resolve", alert["id"])

    assert (listed.code, acked.code, muted.code, resolved.code) == (0, 0, 0, 0)
    assert alert["title"] in listed.out
    assert "acknowledged" in acked.out
    assert muted.document["state"] == "muted"
    assert muted.document["muted_until"]
    assert resolved.out == f"alert {alert['id']} is resolved\n"
    assert alert["id"] not in {item["id"] for item in live.say("alerts", "list", "--json").document["items"]}
    assert alert["id"] in {
        item["id"] for item in live.say("alerts", "list", "--state", "all", "--json").document["items"]
    }
    assert live.say("alerts", "mute", alert["id"], "--until", "soon", "--reason", "x").code == 64
    assert live.say("alerts", "ack", "00000000-0000-7000-8000-000000000000").code == 64


def test_sinks_are_listed_and_set_from_a_file(live: Live, heights: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "sinks.json"
    before = live.say("sinks", "--json").document
    hook = {
        "name": "hook",
        "kind": "webhook",
        "settings": {"url": "https://hooks.example.org/a", "secret_env": "TRUERUN_SECRET_HOOK"},
    }
    file.write_text(json.dumps({"sinks": [*before["sinks"], hook]}))

    put = live.say("sinks", "put", str(file))

    assert (put.code, live.say("sinks", "list").code) == (0, 0)
    golden("sinks.txt", re.sub(r"\d+ s ", "<lag> ", live.say("sinks").out))
    assert "hook needs TRUERUN_SECRET_HOOK" in put.err
    sinks = {sink["name"]: sink for sink in live.say("sinks", "--json").document["sinks"]}
    assert (sinks["hook"]["owed"], sinks["hook"]["settings"]["routes"]) == (1, [])
    file.write_text('{"sinks": [{"name": "log", "kind": "log", "setings": {}}]}')
    refused = live.say("sinks", "put", str(file))
    assert (refused.code, "setings" in refused.err) == (64, True)
    assert live.say("sinks", "put", str(tmp_path / "none.json")).code == 64
    file.write_text("[]")
    assert live.say("sinks", "put", str(file)).code == 64


def test_deliveries_are_listed_tried_again_and_discarded(live: Live, heights: dict[str, Any]) -> None:
    owed = live.say("deliveries", "list", "--state", "owed", "--json").document["items"]
    first, second = owed[-1]["id"], owed[-2]["id"]

    tried = live.say("deliveries", "retry", str(first))
    gone = live.say("deliveries", "discard", str(second), "--reason", "nobody wants it")

    assert tried.out == f"delivery {first} to log is due at once\n"
    assert gone.out == f"delivery {second} to log is discarded\n"
    left = live.say("deliveries", "--json").document["items"]
    assert {item["id"] for item in owed} - {item["id"] for item in left} == {second}
    listed = live.say("deliveries", "list", "--topic", "evaluation.judged", "--limit", "1").out
    assert re.search(r"evaluation\.judged +owed +0", listed)
    assert "no delivery" in live.say("deliveries", "list", "--state", "buried").err
    assert live.say("deliveries", "discard", str(first)).code == 64
    assert live.say("deliveries", "retry", str(second)).code == 64


def test_a_policy_is_shown_previewed_and_put(live: Live, heights: dict[str, Any], tmp_path: Path) -> None:
    shown = live.say("policy", "show")
    draft = tmp_path / "policy.toml"
    draft.write_text('rel_tol = 5.0\n\n[[rule]]\nmetric = "log2_mse"\noverall = true\nmax = 10.0\n')

    preview = live.say("policy", "preview", str(draft))
    put = live.say("policy", "put", str(draft))
    document = live.say("policy", "show", "--json").document
    first = live.say("policy", "show", "--version", "1")

    assert (shown.code, preview.code, put.code) == (0, 0, 0)
    assert "rel_tol" in shown.out
    assert "would change" in preview.out
    assert "run-6" in preview.out
    assert put.out == "policy version 2 holds from now on\n"
    assert (document["version"], document["policy"]["rel_tol"]) == (2, 5.0)
    assert first.out == shown.out
    draft.write_text("rel_tol = 'much'\nrel_to = 3\n")
    wrong = live.say("policy", "put", str(draft))
    assert wrong.code == 64
    assert re.search(r"line \d", wrong.err)
    assert live.say("policy", "put", str(tmp_path / "nowhere.toml")).code == 64


def test_a_policy_template_is_printed_and_written_once(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "pde.toml"

    printed = live.say("policy", "template", "pde")
    written = live.say("policy", "init", "--template", "pde", "--output", str(file))
    twice = live.say("policy", "init", "--template", "pde", "--output", str(file))

    assert (printed.code, written.code, twice.code) == (0, 0, 64)
    assert "conservation_gap" in file.read_text()
    assert file.read_text() == printed.out
    assert "--force" in twice.err
    live.run("any").log_evaluation("s", {"nrmse": 0.1})
    assert live.say("policy", "put", str(file)).code == 0
    assert live.say("policy", "template", "nowhere").code == 64


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


def test_tokens_are_made_listed_and_revoked(live: Live) -> None:
    live.run("any").log_evaluation("s", {"nrmse": 0.1})

    made = live.say("token", "create", "--role", "viewer", "--label", "wall | screen", "--expires", "30d")
    secret = made.out.strip()
    viewer = live.say("whoami", "--token", secret, "--json").document
    listed = live.say("token", "list", "--project", "codes", "--json").document["items"]
    token = next(item for item in listed if item["label"] == "wall | screen")
    table = live.say("token", "list", "--project", "codes")
    forbidden = live.say("invalidate", "any", "--reason", "no", "--token", secret)
    revoked = live.say("token", "revoke", token["id"])

    assert made.code == 0
    assert re.fullmatch(r"trn_\w{8}_[\w-]+", secret)
    assert "this once" in made.err
    assert (viewer["role"], viewer["project"]) == ("viewer", "codes")
    assert secret not in table.out
    assert token["prefix"] in table.out
    assert (forbidden.code, revoked.code) == (1, 0)
    assert live.say("whoami", "--token", secret).code == 3
    assert live.say("token", "create", "--role", "boss", "--label", "x").code == 64
    assert live.say("token", "revoke", "00000000-0000-7000-8000-000000000000").code == 64


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
