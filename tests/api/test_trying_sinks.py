"""A test of a sink: through the same outbox and worker as everything else, at once, once, and told to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db import session_factory
from app.db.outbox import ClaimedMessage
from app.worker.loop import Worker
from app.worker.sinks import Delivered, Paused, Refused
from tests.api.calling import Caller, a_run, an_evaluation
from tests.services.world import World, a_world
from tests.worker.owed import claim, rows, work_until_idle

LOG = {"name": "log", "kind": "log"}
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
def posted(admin: Caller) -> None:
    """An evaluation, of which both sinks are owed news."""
    run_id = a_run(admin)
    admin.put(SINKS, {"sinks": [LOG, HOOK]})
    an_evaluation(admin, run_id)


@dataclass
class Picky:
    """Takes everything but tests, for which it has an answer of its own."""

    answer: Exception | Delivered
    topics: list[str] = field(default_factory=list)

    def deliver(self, message: ClaimedMessage) -> Delivered | None:
        self.topics.append(message.topic)
        if message.topic != "sink.tested":
            return None
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def work(world: World, sink: Picky) -> None:
    sessions = session_factory(world.engine)
    work_until_idle(Worker(sessions=sessions, sinks={"log": sink}, random=lambda: 0.0))


def test_a_test_goes_to_that_sink_alone_before_all_else_and_ends_its_pause(
    admin: Caller, world: World, posted: None
) -> None:
    before = len(rows(world, "log"))
    with world.transaction() as session:
        session.execute(text("UPDATE sink SET paused_until = now() + interval '1 h', paused_because = '401'"))

    asked = admin.as_role("maintainer", "heights").post(f"{SINKS}/hook/test", None)

    assert (asked["sink"], asked["topic"], asked["state"], asked["attempts"]) == (
        "hook",
        "sink.tested",
        "owed",
        0,
    )
    assert [message.id for message in claim(world, kinds=("webhook",), limit=1)] == [asked["id"]]
    assert len(rows(world, "log")) == before
    paused = {each["name"]: each["paused"] for each in admin.get(SINKS)["sinks"]}
    assert (paused["hook"], paused["log"] is None) == (None, False)
    note = admin.get("/projects/heights/audit")["items"][0]
    assert (note["action"], note["subject"]) == ("sink.test", "sink hook")


def test_what_the_receiver_answered_is_the_outcome(admin: Caller, world: World, posted: None) -> None:
    admin.post(f"{SINKS}/log/test", None)
    sink = Picky(Delivered(receipt="thanks"))

    work(world, sink)

    (test,) = admin.get(DELIVERIES, query={"sink": "log", "topic": "sink.tested"})["items"]
    assert (test["state"], test["receipt"], test["attempts"]) == ("delivered", "thanks", 1)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(ConnectionError("no route"), "ConnectionError: no route", id="later perhaps"),
        pytest.param(Refused("never"), "never", id="for good"),
        pytest.param(Paused("401: unknown key", timedelta(hours=1)), "401: unknown key", id="not let in"),
    ],
)
def test_a_test_that_fails_is_tried_once_and_troubles_nobody_else(
    admin: Caller, world: World, posted: None, error: Exception, told: str
) -> None:
    known = len(rows(world, "hook"))
    asked = admin.post(f"{SINKS}/log/test", None)
    sink = Picky(error)

    work(world, sink)

    (test,) = admin.get(DELIVERIES, query={"topic": "sink.tested"})["items"]
    assert (test["id"], test["state"], test["last_error"]) == (asked["id"], "buried", told)
    assert sink.topics.count("sink.tested") == 1
    log = next(each for each in admin.get(SINKS)["sinks"] if each["name"] == "log")
    assert (log["owed"], log["paused"]) == (0, None)
    assert len(rows(world, "hook")) == known


def test_a_test_takes_the_place_of_one_that_did_not_arrive(admin: Caller, world: World, posted: None) -> None:
    arrived = admin.post(f"{SINKS}/log/test", None)
    work(world, Picky(Delivered()))
    admin.post(f"{SINKS}/log/test", None)
    work(world, Picky(Refused("never")))
    admin.post(f"{SINKS}/log/test", None)

    newest = admin.post(f"{SINKS}/log/test", None)

    tests = admin.get(DELIVERIES, query={"topic": "sink.tested"})["items"]
    assert [each["id"] for each in tests] == [newest["id"], arrived["id"]]


def test_a_sink_that_is_not_there_or_disabled_is_not_tested(
    admin: Caller, world: World, posted: None
) -> None:
    admin.put(SINKS, {"sinks": [LOG, {**HOOK, "enabled": False}]})

    unknown = admin.send("POST", f"{SINKS}/chat/test")
    disabled = admin.send("POST", f"{SINKS}/hook/test")

    assert (unknown.status_code, "no sink 'chat'" in unknown.text) == (404, True)
    assert (disabled.status_code, "is disabled; enable it first" in disabled.text) == (409, True)
    assert rows(world, "hook") == []
