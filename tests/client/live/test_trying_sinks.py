"""`truerun sinks test` against the real service, the real worker and the real wandb."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.client.live.golden import golden
from tests.client.live.mirrored import Working
from tests.client.live.service import Live
from tests.worker.wandb.standin import KEY, Standin

FILE = {
    "sinks": [
        {"name": "log", "kind": "log"},
        {"name": "kept", "kind": "wandb", "settings": {"project": "tries", "mode": "offline"}},
        {"name": "off", "kind": "wandb", "settings": {"project": "tries", "mode": "disabled"}},
        {
            "name": "hook",
            "kind": "webhook",
            "settings": {"url": "https://hooks.example.org/a", "secret_env": "TRUERUN_SECRET_HOOK"},
        },
    ]
}


@pytest.fixture
def project(wandb: Standin, live: Live, tmp_path: Path) -> Path:
    """With these sinks; the file that says so."""
    assert live.request("POST", "/projects", {"key": "codes"}).is_success
    file = tmp_path / "sinks.json"
    file.write_text(json.dumps(FILE))
    assert live.say("sinks", "put", str(file)).code == 0
    return file


def test_what_became_of_a_test_is_printed(
    wandb: Standin, live: Live, project: Path, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRUERUN_SECRET_HOOK", raising=False)
    with working():
        said = {name: live.say("sinks", "test", name) for name in ("log", "kept", "off", "hook")}
        kept = live.say("sinks", "test", "kept", "--json").document

        monkeypatch.setenv("WANDB_API_KEY", KEY)
        online = {"project": "tries", "entity": "team", "base_url": wandb.url}
        project.write_text(json.dumps({"sinks": [{"name": "kept", "kind": "wandb", "settings": online}]}))
        assert live.say("sinks", "put", str(project)).code == 0
        arrived = live.say("sinks", "test", "kept")

    assert {name: one.code for name, one in said.items()} == {"log": 0, "kept": 0, "off": 1, "hook": 1}
    words = "".join(f"$ truerun sinks test {name}\n{one.out}{one.err}" for name, one in said.items())
    golden("sinks-test.txt", re.sub(r" /\S+/|(?<=offline-run-)\d+_\d+", "…", words))
    (run,) = kept["mirrored"]
    assert (run["name"], run["tables"]) == ("test-codes", ["test/sink"])
    assert shlex.split(run["command"])[-1] == run["directory"]
    assert (arrived.code, arrived.out.splitlines()[1]) == (0, f"{wandb.url}/team/tries/runs/test-codes")
    (row,) = wandb.run("test-codes").table("test/sink")["data"]
    assert row[0] == "kept"


def test_without_a_worker_the_command_says_so_and_gives_up(live: Live, project: Path) -> None:
    waited = live.say("sinks", "test", "log", "--wait", "0.3")

    assert waited.code == 1
    assert "nothing became of the test within 0.3 s; does a worker run" in waited.err
    look = waited.err.strip().rpartition("truerun ")[2]
    assert "sink.tested" in live.say(*look.split()).out
    assert live.say("sinks", "test", "nowhere").code == 64
    assert live.say("sinks", "test", "log", "--url", "http://127.0.0.1:1").code == 3
