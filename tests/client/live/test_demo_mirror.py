"""What the demo mirrors to W&B: offline, told from what the worker has written; online with a key and an entity."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.live.mirrored import Working
from tests.client.live.service import Live
from tests.docs.pages import blocks, pattern_of
from tests.worker.wandb.standin import KEY, Standin
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.demo import heights, mirror
from truerun.settings import find_settings

SINKS = f"/projects/{heights.PROJECT}/sinks"


@pytest.fixture
def service(wandb: Standin, live: Live) -> Iterator[Service]:
    service = Service(find_settings(url=live.url, token=live.token, mode=None))
    yield service
    service.close()


def shown(service: Service, *, wait_seconds: float = 120.0) -> str:
    text = io.StringIO()
    mirror.show(service, heights.PROJECT, Output(as_json=False, stdout=text), wait_seconds=wait_seconds)
    return text.getvalue()


def the_sink(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in service.get(SINKS)["sinks"] if each["name"] == mirror.SINK)
    return found


def test_run_6_is_mirrored_offline_once_and_online_as_soon_as_there_is_an_account(
    service: Service,
    working: Working,
    wandb: Standin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with working():
        assert heights.load(service)
        first = shown(service)

        page = next(block for block in blocks("docs/mirroring.md") if "W&B RUN" in block.text)
        assert pattern_of(page.text).fullmatch(f"{first.strip()}\n"), first
        commands = [shlex.split(line) for line in first.splitlines() if line.startswith("env ")]
        assert {line[line.index("--project") + 1] for line in commands} == {mirror.WANDB_PROJECT}
        assert all(list(Path(line[-1]).glob("run-*.wandb")) for line in commands)
        kept = sorted((tmp_path / "mirror" / "offline").iterdir())

        assert not heights.load(service)
        again = shown(service)

        assert again == first
        assert sorted((tmp_path / "mirror" / "offline").iterdir()) == kept
        assert wandb.asked == []

        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_ENTITY", "team")
        monkeypatch.setenv("WANDB_BASE_URL", wandb.url)
        assert not heights.load(service)
        online = shown(service)

    assert f"{wandb.url}/team/truerun-demo/runs/leaderboard-heights" in online
    board = wandb.run("leaderboard-heights").table("leaderboard/full_table")
    assert [row[board["columns"].index("Run")] for row in board["data"]] == ["run-6", "run-2"]


def test_where_no_worker_runs_it_says_what_is_owed_and_what_shows_it(
    wandb: Standin, service: Service, live: Live
) -> None:
    heights.load(service)

    said = shown(service, wait_seconds=0.0)

    owed = the_sink(service)["owed"]
    assert f"{owed} messages are still owed to W&B: no worker has run." in said
    command = said.strip().rpartition("truerun ")[2]
    listed = live.say(*command.split())
    assert (listed.code, len(listed.out.splitlines())) == (0, owed + 1)


ACCOUNT = {"WANDB_API_KEY": KEY, "WANDB_ENTITY": "team"}


@pytest.fixture
def project(service: Service) -> str:
    """Made, and otherwise empty."""
    service.send("POST", "/projects", {"key": heights.PROJECT})
    return heights.PROJECT


def test_a_key_without_an_entity_is_no_account(service: Service, project: str) -> None:
    mirror.enable(service, project, environ={"WANDB_API_KEY": KEY})

    assert the_sink(service)["settings"]["mode"] == "offline"


def test_a_server_that_may_not_get_the_key_leaves_the_demo_offline(
    service: Service, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = "https://wandb.elsewhere.example"

    mirror.enable(service, project, environ={**ACCOUNT, "WANDB_BASE_URL": elsewhere})

    assert "W&B stays offline" in capsys.readouterr().err
    assert the_sink(service)["settings"]["mode"] == "offline"


def test_a_sink_of_ones_own_is_left_as_it_is(service: Service, project: str) -> None:
    own = {"name": mirror.SINK, "kind": "wandb", "settings": {"project": "mine", "mode": "offline"}}
    before = service.send("PUT", SINKS, {"sinks": [own]})

    mirror.enable(service, project, environ=ACCOUNT)

    assert service.get(SINKS) == before


def test_other_sinks_stay_when_the_demo_makes_its_own(service: Service, project: str) -> None:
    (log,) = service.get(SINKS)["sinks"]

    mirror.enable(service, project, environ=ACCOUNT)

    kept, made = service.get(SINKS)["sinks"]
    assert kept == log
    assert (made["settings"]["mode"], made["settings"]["entity"]) == ("online", "team")


def test_a_project_without_that_sink_is_told_as_such(service: Service, project: str) -> None:
    assert "it has no sink wandb" in shown(service, wait_seconds=0.0)
