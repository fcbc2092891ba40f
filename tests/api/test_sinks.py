"""Sinks and deliveries over HTTP: configured, watched, tried again, discarded; secrets by name only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from app.db import outbox
from tests.api.calling import Caller, a_run, an_evaluation
from tests.services.world import World, a_world
from tests.worker.owed import FakeSink, a_worker, claim, make_everything_due, rows, work_until_idle

LOG = {"name": "log", "kind": "log"}
WANDB = {"name": "mirror", "kind": "wandb", "settings": {"project": "heights", "key_env": "TRUERUN_SECRET_W"}}
HOOK = {
    "name": "hook",
    "kind": "webhook",
    "settings": {"url": "https://hooks.example.org/a", "secret_env": "TRUERUN_SECRET_HOOK"},
}
SINKS, DELIVERIES = "/projects/heights/sinks", "/projects/heights/deliveries"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world


@pytest.fixture
def posted(admin: Caller) -> str:
    """A run with an evaluation on suite val."""
    run_id = a_run(admin)
    an_evaluation(admin, run_id)
    return run_id


def put(admin: Caller, *sinks: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in admin.put(SINKS, {"sinks": list(sinks)})["sinks"]}


def state_of(world: World, name: str) -> list[tuple[str, str]]:
    return [(row.topic, row.payload.get("stage", "")) for row in rows(world, name)]


def test_a_project_is_born_with_its_log(admin: Caller, posted: str) -> None:
    (log,) = admin.get(SINKS)["sinks"]

    assert (log["name"], log["kind"], log["enabled"], log["settings"]) == ("log", "log", True, {})
    assert (log["secret"], log["paused"], log["changed_at"]) == (None, None, None)
    assert log["owed"] > 0
    assert log["lag_seconds"] >= 0.0
    assert log["last_delivered_at"] is None


def test_a_sink_that_is_enabled_is_told_every_board_once_and_then_what_changes(
    admin: Caller, world: World, posted: str
) -> None:
    an_evaluation(admin, posted, stage="other")
    known_before = len(rows(world, "log"))
    made = put(admin, LOG, WANDB)
    assert len(rows(world, "log")) == known_before
    assert state_of(world, "mirror") == [("leaderboard.changed", "final"), ("leaderboard.changed", "other")]
    assert made["mirror"]["owed"] == 2
    again = put(admin, LOG, WANDB)
    assert again["mirror"]["changed_at"] == made["mirror"]["changed_at"]
    assert len(rows(world, "mirror")) == 2

    an_evaluation(admin, posted)

    assert {topic for topic, _ in state_of(world, "mirror")[2:]} == {
        "evaluation.judged",
        "leaderboard.changed",
    }
    assert len(rows(world, "log")) > len(rows(world, "mirror"))


def test_what_holds_already_leaves_no_trace_and_a_change_says_what_it_was(
    admin: Caller, world: World, posted: str
) -> None:
    put(admin, LOG, WANDB)
    put(admin, LOG, WANDB)
    put(admin, LOG, {**WANDB, "enabled": False})

    changes = [
        item for item in admin.get("/projects/heights/audit")["items"] if item["action"] == "sink.change"
    ]

    assert len(changes) == 2
    assert changes[1]["detail"]["mirror"]["before"] is None
    assert changes[1]["detail"]["mirror"]["after"]["settings"]["key_env"] == "TRUERUN_SECRET_W"
    assert changes[0]["detail"] == {
        "mirror": {
            "before": changes[1]["detail"]["mirror"]["after"],
            "after": {**changes[1]["detail"]["mirror"]["after"], "enabled": False},
            "dropped": 1,
            "written": 0,
        }
    }


def test_a_disabled_or_removed_sink_is_owed_nothing_and_starts_from_now_when_enabled(
    admin: Caller, world: World, posted: str
) -> None:
    put(admin, LOG, WANDB, HOOK)
    put(admin, LOG, {**WANDB, "enabled": False})
    assert (rows(world, "mirror"), rows(world, "hook")) == ([], [])
    an_evaluation(admin, posted)
    assert rows(world, "mirror") == []

    put(admin, LOG, WANDB)

    assert state_of(world, "mirror") == [("leaderboard.changed", "final")]


def test_other_settings_keep_what_is_owed_and_end_a_pause(admin: Caller, world: World, posted: str) -> None:
    put(admin, LOG, WANDB)
    an_evaluation(admin, posted)
    owed = len(rows(world, "mirror"))
    with world.transaction() as session:
        session.execute(
            text("UPDATE sink SET paused_until = now() + interval '1 h', paused_because = '401: unknown key'")
        )
    paused = {each["name"]: each["paused"] for each in admin.get(SINKS)["sinks"]}
    assert paused["mirror"]["because"] == "401: unknown key"

    changed = put(admin, LOG, {**WANDB, "settings": {**WANDB["settings"], "project": "widths"}})  # type: ignore[dict-item]

    assert changed["mirror"]["paused"] is None
    assert changed["log"]["paused"] is not None
    assert len(rows(world, "mirror")) == owed + 1


def test_a_secret_is_told_by_the_name_of_its_variable_only(
    admin: Caller, posted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUERUN_SECRET_HOOK", "s3cr3t-value")
    monkeypatch.delenv("TRUERUN_SECRET_W", raising=False)

    made = put(admin, LOG, WANDB, HOOK)

    assert made["hook"]["secret"] == {"variable": "TRUERUN_SECRET_HOOK", "is_set": True}
    assert made["mirror"]["secret"] == {"variable": "TRUERUN_SECRET_W", "is_set": False}
    assert "s3cr3t-value" not in str(admin.get(SINKS)) + str(admin.get("/projects/heights/audit"))


@pytest.mark.parametrize(
    ("sinks", "field"),
    [
        pytest.param([LOG, LOG], "sinks.1.name", id="twice the same name"),
        pytest.param(
            [{"name": "w", "kind": "wandb", "settings": {"project": "p", "key_env": "DATABASE_URL"}}],
            "sinks.0.settings.key_env",
            id="a variable that is none of theirs",
        ),
        pytest.param(
            [LOG, {"name": "w", "kind": "wandb", "settings": {"project": "p", "base_url": "https://a.b"}}],
            "sinks.1.settings.base_url",
            id="a server that may not be given keys",
        ),
        pytest.param(
            [WANDB, {**WANDB, "name": "again"}],
            "sinks.1.settings.project",
            id="two writers of one W&B project",
        ),
        pytest.param([{"name": "..", "kind": "log"}], "sinks.0.name", id="a name that no path can have"),
        pytest.param([{"name": f"s{i}", "kind": "log"} for i in range(21)], "sinks", id="too many"),
        pytest.param([{"name": "a", "kind": "telex"}], "sinks.0.kind", id="an unknown kind"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_changes(
    admin: Caller, posted: str, sinks: list[Any], field: str
) -> None:
    response = admin.send("PUT", SINKS, {"sinks": sinks})

    assert response.status_code == 422
    assert response.json()["field"] == field
    assert [each["name"] for each in admin.get(SINKS)["sinks"]] == ["log"]


def test_one_wandb_project_may_have_a_second_sink_that_does_not_write(admin: Caller, posted: str) -> None:
    settings = {"project": "heights", "key_env": "TRUERUN_SECRET_W"}
    disabled = {"name": "off", "kind": "wandb", "settings": {**settings, "mode": "disabled"}}
    elsewhere = {"name": "b", "kind": "wandb", "settings": {**settings, "entity": "team-b"}}

    made = put(admin, WANDB, disabled, elsewhere, {**WANDB, "name": "spare", "enabled": False})

    assert set(made) == {"mirror", "off", "b", "spare"}


def test_deliveries_are_listed_by_state_sink_and_topic_in_pages(
    admin: Caller, world: World, posted: str
) -> None:
    put(admin, LOG, HOOK)
    an_evaluation(admin, posted)
    failing = {"leaderboard.changed"}
    work_until_idle(a_worker(world, AwkwardSink(failing)))

    def listed(**query: str) -> list[tuple[str, str, str]]:
        items = admin.get(DELIVERIES, query=query)["items"]
        return [(item["sink"], item["topic"], item["state"]) for item in items]

    # The second one about the board waits behind the one that fails.
    assert {state for _, _, state in listed(sink="log")} == {"failing", "owed", "delivered"}
    assert {sink for sink, _, _ in listed(state="owed")} == {"log", "hook"}
    assert set(listed(state="failing")) == {("log", "leaderboard.changed", "failing")}
    assert {topic for _, topic, _ in listed(topic="evaluation.judged")} == {"evaluation.judged"}
    assert listed(state="buried") == []
    assert listed(sink="nobody") == []
    assert admin.send("GET", DELIVERIES, query={"state": "lost"}).status_code == 422
    paged, cursor = [], None
    while True:
        page = admin.get(DELIVERIES, query={"limit": "2"} | ({"cursor": cursor} if cursor else {}))
        paged += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == sorted((row.id for row in rows(world)), reverse=True)


class AwkwardSink(FakeSink):
    """Refuses some topics; every message else arrives."""

    def __init__(self, topics: set[str]) -> None:
        super().__init__()
        self.topics = topics

    def deliver(self, message: Any) -> None:
        if message.topic in self.topics:
            raise ConnectionError("no route")
        self.taken.append(message)


def test_a_buried_delivery_is_tried_again_by_an_admin(admin: Caller, world: World, posted: str) -> None:
    (message, *_) = claim(world)
    world.run(lambda session: outbox.bury(session, message, error="gone"))
    (buried,) = admin.get(DELIVERIES, query={"state": "buried"})["items"]
    assert (buried["id"], buried["last_error"], buried["attempts"]) == (message.id, "gone", 1)
    before = {each["name"]: each for each in admin.get(SINKS)["sinks"]}["log"]
    assert (before["buried"], before["last_error"]) == (1, "gone")

    again = admin.post(f"{DELIVERIES}/{message.id}/retry", None)

    assert (again["state"], again["attempts"], again["buried_at"]) == ("owed", 0, None)
    make_everything_due(world)
    sink = FakeSink()
    work_until_idle(a_worker(world, sink))
    assert message.id in [taken.id for taken in sink.taken]
    known = {each["name"]: each for each in admin.get(SINKS)["sinks"]}["log"]
    assert (known["owed"], known["buried"], known["last_error"], known["lag_seconds"]) == (0, 0, None, 0.0)
    assert known["last_delivered_at"] is not None
    refused = admin.send("POST", f"{DELIVERIES}/{message.id}/retry")
    assert (refused.status_code, "has arrived" in refused.text) == (409, True)


def test_a_retry_ends_the_pause_and_waits_for_nothing(admin: Caller, world: World, posted: str) -> None:
    work_until_idle(a_worker(world, FakeSink(fails=lambda message: True), claimed_at_once=1), most=6)
    failing = admin.get(DELIVERIES, query={"state": "failing"})["items"][0]
    with world.transaction() as session:
        session.execute(text("UPDATE sink SET paused_until = now() + interval '1 h'"))
        session.execute(text("UPDATE outbox_message SET available_at = now() + interval '1 h'"))
    assert claim(world) == []

    admin.post(f"{DELIVERIES}/{failing['id']}/retry", None)

    assert [message.id for message in claim(world)] == [failing["id"]]
    under_way = admin.send("POST", f"{DELIVERIES}/{failing['id']}/retry")
    assert (under_way.status_code, "just now" in under_way.text) == (409, True)


def test_what_nobody_wants_is_discarded_with_a_reason_and_the_next_goes_on(
    admin: Caller, world: World, posted: str
) -> None:
    first = rows(world)[0]

    gone = admin.post(f"{DELIVERIES}/{first.id}/discard", {"reason": "the receiver is gone"})

    assert (gone["id"], gone["payload"]) == (first.id, first.payload)
    assert first.id not in [row.id for row in rows(world)]
    note = admin.get("/projects/heights/audit")["items"][0]
    assert (note["action"], note["reason"]) == ("delivery.discard", "the receiver is gone")
    assert note["detail"]["payload"] == first.payload
    assert admin.send("POST", f"{DELIVERIES}/{first.id}/retry").status_code == 404


def test_only_an_admin_mends_and_only_a_maintainer_looks(admin: Caller, world: World, posted: str) -> None:
    first = rows(world)[0]
    for role, reads, mends in (("viewer", 403, 403), ("reporter", 403, 403), ("maintainer", 200, 403)):
        caller = admin.as_role(role, "heights")
        assert caller.send("GET", SINKS).status_code == reads
        assert caller.send("GET", DELIVERIES).status_code == reads
        assert caller.send("PUT", SINKS, {"sinks": [LOG]}).status_code == reads
        assert caller.send("POST", f"{DELIVERIES}/{first.id}/retry").status_code == mends
        assert caller.send("POST", f"{DELIVERIES}/{first.id}/discard", {"reason": "x"}).status_code == mends


def test_a_delivery_of_a_disabled_sink_is_not_tried_again(admin: Caller, world: World, posted: str) -> None:
    (message, *_) = claim(world)
    world.run(lambda session: outbox.bury(session, message, error="gone"))
    put(admin, {**LOG, "enabled": False})
    assert [row.id for row in rows(world)] == [message.id]

    refused = admin.send("POST", f"{DELIVERIES}/{message.id}/retry")

    assert (refused.status_code, "is disabled" in refused.text) == (409, True)
    put(admin)
    assert rows(world) == []


def test_readiness_and_metrics_say_how_each_kind_is_doing(admin: Caller, world: World, posted: str) -> None:
    put(admin, LOG, HOOK, {**WANDB, "enabled": False})
    (message, *_) = claim(world)
    world.run(lambda session: outbox.bury(session, message, error="gone"))
    with world.transaction() as session:
        session.execute(text("UPDATE sink SET paused_until = now() + interval '1 h' WHERE kind <> 'log'"))

    ready = {each["kind"]: each for each in admin.get("/readyz")["sinks"]}
    metrics = admin.send("GET", "/metrics").text

    owed = len(rows(world, "log")) - 1
    assert (ready["log"]["owed"], ready["log"]["buried"], ready["log"]["paused"]) == (owed, 1, 0)
    # The board, and that the log gave something up.
    assert (ready["webhook"]["owed"], ready["webhook"]["paused"]) == (2, 1)
    assert (ready["wandb"]["owed"], ready["wandb"]["paused"]) == (0, 0)
    assert f'truerun_sink_owed{{kind="log"}} {owed}.0' in metrics
    assert 'truerun_sink_buried{kind="log"} 1.0' in metrics
    assert 'truerun_sink_paused{kind="webhook"} 1.0' in metrics
    assert 'truerun_sink_oldest_owed_seconds{kind="apprise"} 0.0' in metrics
