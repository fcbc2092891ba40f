"""Each kind of news, from what causes it to what a receiver is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.db import outbox, runs, session_factory
from app.domain.batches import BatchDocument
from app.domain.evaluations import Stated
from app.domain.notices import NoticeKind
from app.domain.policies import policy_from_document
from app.domain.promotion import EventKind
from app.services import sinks
from app.services.ingest import take_records
from app.services.liveness import mark_silent, watch_rivals
from app.services.policies import put_policy
from app.services.runs import OpenedRun
from app.worker.notices.addresses import networks
from app.worker.notices.webhook import WebhookSink
from tests.api.recording import STREAM, others, points
from tests.services.claims import BAD, BETTER, GOOD, a_suite, bootstrapping, marking_run, moving, posted
from tests.services.world import ADMIN, NOW, World, a_project, a_run, a_world
from tests.worker.notices.receivers import LOOPBACK, http_receiver
from tests.worker.owed import a_sink, claim


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A project with a champion and limits."""
    with a_world(database_url) as world:
        a_project(world)
        limits(world, metric="log2_mse", group="hard", max=0.7)
        a_suite(world)
        world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD), reason="a start"))
        yield world


def limits(world: World, **rule: Any) -> None:
    policy = policy_from_document({"rule": [rule]})
    world.run(lambda session: put_policy(session, ADMIN, project_key="burgers", policy=policy, now=NOW))


def a_better_champion(world: World) -> OpenedRun:
    second = a_run(world, "second")
    world.run(moving(EventKind.PROMOTE, posted(world, second.run_id, BETTER), version=1, reason="better"))
    return second


def logged(world: World, batch: dict[str, Any]) -> None:
    run = a_run(world, "second")
    document = msgspec.convert(batch, BatchDocument)
    world.run(
        lambda session: take_records(
            session, ADMIN, run_id=run.run_id, stream_id=STREAM, document=document, now=NOW
        )
    )


def regresses(world: World) -> None:
    posted(world, a_run(world, "second").run_id, BAD)


def is_unphysical(world: World) -> None:
    posted(world, a_run(world, "second").run_id, BAD)


def miscounts(world: World) -> None:
    posted(world, a_run(world, "second").run_id, GOOD, stated=Stated(n=5))


def improves(world: World) -> None:
    posted(world, a_run(world, "second").run_id, BETTER)


def is_promoted(world: World) -> None:
    a_better_champion(world)


def is_overridden(world: World) -> None:
    second = posted(world, a_run(world, "second").run_id, BAD)
    world.run(moving(EventKind.OVERRIDE, second, version=1, reason="the hard set is wrong"))


def is_rolled_back(world: World) -> None:
    a_better_champion(world)
    world.run(moving(EventKind.ROLLBACK, version=2, reason="numbers look odd"))


def is_found_invalid(world: World) -> None:
    second = a_better_champion(world)
    world.run(marking_run(second.run_id, reason="trained on the test set"))


def falls_silent(world: World) -> None:
    logged(world, points(loss=[1.0]))
    later = NOW + timedelta(hours=1)
    world.run(lambda session: mark_silent(session, now=later, listening_for=timedelta(days=1), limit=100))


def runs_twice(world: World) -> None:
    second = a_run(world, "second")
    a_run(world, "second")
    at = NOW + timedelta(minutes=2)

    def watched(session: Any) -> None:
        row = runs.lock(session, project_id=second.project_id, run_id=second.run_id)
        assert row is not None
        watch_rivals(session, row, number=1, spoke_at=at, newer_began_at=NOW, now=at)

    world.run(watched)


def breaks_a_limit(world: World) -> None:
    limits(world, metric="gap", max=5.0, points=1)
    logged(world, points(gap=[1.0, 6.0]))


def says_so_itself(world: World) -> None:
    event = {"type": "event", "kind": "alert", "level": "warn", "title": "spike", "detail": {"text": "at 7"}}
    logged(world, others(0, event))


def gets_stuck(world: World) -> None:
    run = a_run(world, "second")
    a_sink(world, run.project_id, "mirror", kind="wandb")
    posted(world, run.run_id, GOOD)
    (message, *_) = claim(world, kinds=("wandb",))
    world.run(lambda session: outbox.bury(session, message, error="HTTP 403"))


def is_tested(world: World) -> None:
    world.run(lambda session: sinks.test_sink(session, ADMIN, project_key="burgers", name="ours", now=NOW))


CAUSES: dict[NoticeKind, list[tuple[Callable[[World], None], str, list[str]]]] = {
    NoticeKind.REGRESSION: [(regresses, "error", ["100 % worse", "hard", "the champion first (version 1)"])],
    NoticeKind.LIMIT: [(is_unphysical, "error", ["hard", "0.7"])],
    NoticeKind.INTEGRITY: [(miscounts, "error", ["5"])],
    NoticeKind.IMPROVEMENT: [(improves, "info", ["second: improved in", "the champion first (version 1)"])],
    NoticeKind.PROMOTION: [(is_promoted, "info", ["second is the new champion", "before: first", "better"])],
    NoticeKind.OVERRIDE: [(is_overridden, "warn", ["its gate is closed", "the hard set is wrong"])],
    NoticeKind.ROLLBACK: [
        (is_rolled_back, "warn", ["champion rolled back to first", "numbers look odd"]),
        (is_found_invalid, "warn", ["champion taken back to first", "trained on the test set"]),
    ],
    NoticeKind.LOST: [(falls_silent, "warn", ["second"])],
    NoticeKind.ATTEMPTS: [(runs_twice, "warn", ["second"])],
    NoticeKind.TRAINING_LIMIT: [(breaks_a_limit, "error", ["gap is 6 at step 1", "above 5"])],
    NoticeKind.RUN: [(says_so_itself, "warn", ["second: spike", "at 7"])],
    NoticeKind.MIRROR_STUCK: [(gets_stuck, "error", ["deliveries to mirror are stuck", "HTTP 403"])],
    NoticeKind.TEST: [(is_tested, "info", ["test of sink ours", ADMIN.name])],
}


def test_every_kind_has_a_cause() -> None:
    assert set(CAUSES) == set(NoticeKind)


@pytest.mark.parametrize(
    ("kind", "cause", "level", "words"),
    [
        pytest.param(kind, cause, level, words, id=cause.__name__)
        for kind, causes in CAUSES.items()
        for cause, level, words in causes
    ],
)
def test_what_happened_reaches_who_asked_for_its_kind(
    kind: NoticeKind, cause: Callable[[World], None], level: str, words: list[str], world: World
) -> None:
    with http_receiver() as receiver:
        project = a_run(world, "first").project_id
        a_sink(
            world,
            project,
            "ours",
            kind="webhook",
            url=receiver.url,
            secret_env="TRUERUN_SECRET_HOOK",
            routes=[{"kinds": [kind.value]}],
        )

        cause(world)

        told = delivered(world, receiver.received)
    assert [(notice["type"], notice["level"]) for notice in told] == [(f"truerun.{kind}", level)]
    said = told[0]["title"] + "\n" + told[0]["text"]
    assert [each for each in words if each not in said] == [], said
    assert len(told[0]["title"]) < 64
    assert told[0]["link"].startswith("https://truerun.example/projects/burgers/")


def delivered(world: World, received: list[Any]) -> list[dict[str, Any]]:
    sink = WebhookSink(
        session_factory(world.engine),
        allowed=networks(LOOPBACK),
        environ={"TRUERUN_SECRET_HOOK": "whsec_c2VjcmV0"},
        address="https://truerun.example",
    )
    while messages := claim(world, kinds=("webhook",), limit=1):
        sink.deliver(messages[0])
        world.run(lambda session: outbox.mark_delivered(session, messages[0]))
    return [json.loads(each.body) for each in received]
