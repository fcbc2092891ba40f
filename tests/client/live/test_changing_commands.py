"""Commands of `truerun` that change what the service holds: their exit codes, words and JSON, against the real one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.client.live.golden import golden
from tests.client.live.heights import post
from tests.client.live.service import Live


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
