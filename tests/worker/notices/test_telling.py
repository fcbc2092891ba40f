"""From an evaluation that regressed to what a receiver holds, over the real outbox and real sockets."""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from email import policy as email_policy
from typing import Any

import pytest
from sqlalchemy import text

from app.db import outbox, session_factory
from app.db.projects import ProjectRow
from app.domain.alerts import Level, State
from app.domain.notices import Notice, NoticeKind
from app.domain.promotion import EventKind
from app.services import sinks
from app.services.alerts import change_alert
from app.worker.notices.addresses import networks
from app.worker.notices.chat import ChatSink
from app.worker.notices.webhook import WebhookSink
from app.worker.sinks import Delivered, Paused, Refused, Sink
from tests.services.claims import BAD, BETTER, GOOD, a_project_with_champion, moving, posted
from tests.services.world import ADMIN, NOW, World, a_run
from tests.worker.notices.receivers import LOOPBACK, HttpReceiver, SmtpReceiver, http_receiver, smtp_receiver
from tests.worker.owed import a_sink, claim

NOTICE = Notice(
    kind=NoticeKind.RUN, level=Level.WARN, subject="a", title="a title", lines=("a line",), project="burgers"
)
SECRET = "whsec_" + base64.b64encode(b"a secret of some length").decode()


@pytest.fixture
def project(world: World) -> ProjectRow:
    """With a champion `first`."""
    return a_project_with_champion(world, "first")


@pytest.fixture
def http() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def smtp() -> Iterator[SmtpReceiver]:
    with smtp_receiver() as receiver:
        yield receiver


def a_webhook(world: World, **more: Any) -> WebhookSink:
    given = {"allowed": networks(LOOPBACK), "environ": {"TRUERUN_SECRET_HOOK": SECRET}} | more
    return WebhookSink(session_factory(world.engine), address="https://truerun.example", **given)


def a_chat(world: World, url: str, **more: Any) -> ChatSink:
    given: dict[str, Any] = {
        "allowed": LOOPBACK,
        "needs_tls": False,
        "environ": {"TRUERUN_SECRET_CHAT": url},
    }
    return ChatSink(session_factory(world.engine), address="https://truerun.example", **given | more)


def delivered(world: World, kind: str, sink: Sink) -> list[str | None]:
    """Deliver all that is owed to sinks of the kind; the receipts."""
    receipts = []
    while messages := claim(world, kinds=(kind,), limit=1):
        done = sink.deliver(messages[0])
        assert isinstance(done, Delivered)
        receipts.append(done.receipt)
        world.run(lambda session: settle(session, messages[0].id))
    return receipts


def settle(session: Any, message_id: int) -> None:
    session.execute(
        text("UPDATE outbox_message SET delivered_at = now(), lease_id = NULL WHERE id = :id"),
        {"id": message_id},
    )


def told(receiver: HttpReceiver) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in receiver.received]


def test_a_regression_reaches_a_webhook_with_what_by_how_much_against_whom_and_where(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    a_sink(
        world, project.id, "ours", kind="webhook", url=f"{http.url}/hook", secret_env="TRUERUN_SECRET_HOOK"
    )
    posted(world, a_run(world, "second").run_id, BAD)

    delivered(world, "webhook", a_webhook(world, clock=lambda: 1_795_176_000.5))

    (notice,) = told(http)
    assert (notice["type"], notice["level"], notice["run"], notice["suite"]) == (
        "truerun.regression",
        "error",
        "second",
        "heights",
    )
    assert "hard" in notice["groups"]
    assert "100 % worse" in notice["text"]
    assert "measured against the champion first (version 1)" in notice["text"]
    assert notice["link"] == "https://truerun.example/projects/burgers/runs/second"
    assert len(notice["title"]) < 64
    (request,) = http.received
    at, delivery = request.headers["webhook-timestamp"], request.headers["webhook-id"]
    assert (request.path, at) == ("/hook", "1795176000")
    assert delivery.startswith(str(project.id))
    signed = hmac.new(b"a secret of some length", f"{delivery}.{at}.".encode() + request.body, hashlib.sha256)
    assert request.headers["webhook-signature"] == "v1," + base64.b64encode(signed.digest()).decode()


def test_what_was_settled_meanwhile_is_no_news(world: World, project: ProjectRow, http: HttpReceiver) -> None:
    a_sink(world, project.id, "ours", kind="webhook", url=http.url, secret_env="TRUERUN_SECRET_HOOK")
    posted(world, a_run(world, "second").run_id, BAD)
    (message,) = [each for each in claim(world, kinds=("webhook",)) if each.topic == "alert.changed"]
    with world.transaction() as session:
        alert_id = message.payload["alert"]
        change_alert(session, ADMIN, alert_id=alert_id, state=State.ACKNOWLEDGED, now=NOW, reason="known")

    done = a_webhook(world).deliver(message)

    assert done == Delivered(receipt="nothing to tell")
    assert http.received == []


def test_routes_choose_what_is_told(world: World, project: ProjectRow, http: HttpReceiver) -> None:
    routes = [{"kinds": ["promotion", "improvement"]}, {"groups": ["easy"]}]
    a_sink(
        world,
        project.id,
        "ours",
        kind="webhook",
        url=http.url,
        secret_env="TRUERUN_SECRET_HOOK",
        routes=routes,
    )
    posted(world, a_run(world, "second").run_id, BAD)
    better = posted(world, a_run(world, "third").run_id, BETTER)
    world.run(moving(EventKind.PROMOTE, better, version=1, reason="better everywhere"))

    receipts = delivered(world, "webhook", a_webhook(world))

    kinds = [notice["type"] for notice in told(http)]
    assert kinds == ["truerun.improvement", "truerun.promotion"]
    assert "no route wants it" in receipts
    promotion = told(http)[1]
    assert promotion["title"] == "third is the new champion (heights)"
    assert "better everywhere" in promotion["text"]
    assert "before: first" in promotion["text"]


@pytest.mark.parametrize(
    ("status", "headers", "raised"),
    [
        (500, {}, ConnectionError),
        (429, {}, ConnectionError),
        (401, {}, Paused),
        (410, {}, Paused),
        (302, {"location": "http://169.254.169.254/"}, Refused),
    ],
)
def test_a_webhook_that_does_not_take_it_is_never_delivered(
    world: World,
    project: ProjectRow,
    http: HttpReceiver,
    status: int,
    headers: dict[str, str],
    raised: type[Exception],
) -> None:
    a_sink(world, project.id, "ours", kind="webhook", url=http.url, secret_env="TRUERUN_SECRET_HOOK")
    posted(world, a_run(world, "second").run_id, BAD)
    message = next(each for each in claim(world, kinds=("webhook",)) if each.topic == "alert.changed")
    http.answer = lambda: (status, headers)

    with pytest.raises(raised):
        a_webhook(world).deliver(message)

    assert len(http.received) == 1
    http.answer = lambda: (204, {})
    assert a_webhook(world).deliver(message) == Delivered(receipt="HTTP 204")


def test_nothing_is_sent_to_this_machine_unless_the_operator_says_so(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    a_sink(world, project.id, "ours", kind="webhook", url=http.url, secret_env="TRUERUN_SECRET_HOOK")
    a_sink(world, project.id, "chat", kind="apprise", url_env="TRUERUN_SECRET_CHAT")
    posted(world, a_run(world, "second").run_id, BAD)
    by_kind = {
        kind: [m for m in claim(world, kinds=(kind,)) if m.topic == "alert.changed"]
        for kind in ("webhook", "apprise")
    }

    with pytest.raises(Refused, match="not a public address"):
        a_webhook(world, allowed=()).deliver(by_kind["webhook"][0])
    chat = a_chat(world, f"json://127.0.0.1:{http.port}", allowed="")
    with pytest.raises(Refused, match="not a public address"):
        chat.deliver(by_kind["apprise"][0])

    assert http.received == []


def test_a_secret_that_is_not_there_pauses_the_sink_and_names_the_variable(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    a_sink(world, project.id, "ours", kind="webhook", url=http.url, secret_env="TRUERUN_SECRET_HOOK")
    posted(world, a_run(world, "second").run_id, BAD)
    (message, *_) = claim(world, kinds=("webhook",))

    with pytest.raises(Paused, match="TRUERUN_SECRET_HOOK is not set"):
        a_webhook(world, environ={}).deliver(message)


def test_a_regression_reaches_a_mailbox(world: World, project: ProjectRow, smtp: SmtpReceiver) -> None:
    a_sink(world, project.id, "mail", kind="apprise", url_env="TRUERUN_SECRET_CHAT")
    posted(world, a_run(world, "second").run_id, BAD)
    url = f"mailto://127.0.0.1:{smtp.port}?from=truerun@example.org&to=ana@example.org"

    receipts = delivered(world, "apprise", a_chat(world, url))

    assert len([each for each in receipts if each and each.startswith("second:")]) == 1
    (letter,) = smtp.letters
    read = email.message_from_string(letter, policy=email_policy.default)
    assert "second: 1 of 3 groups regressed" in str(read["subject"])
    body = read.get_body(("plain", "html"))
    assert body is not None
    assert "100 % worse" in body.get_content()


@pytest.mark.parametrize(
    ("url", "host", "variable"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#runs", "hooks.slack.com:443", "HTTPS_PROXY"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord.com:443", "https_proxy"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", "api.telegram.org:443", "HTTPS_PROXY"),
    ],
)
def test_a_service_is_asked_at_its_own_address_and_through_the_proxy_of_the_host(
    url: str, host: str, variable: str, world: World, http: HttpReceiver
) -> None:
    given: dict[str, Any] = {"environ": {variable: http.url}, "needs_tls": True}

    with pytest.raises(ConnectionError):
        a_chat(world, url, **given).tell(url, NOTICE)
    with pytest.raises(Refused, match="not a public address"):
        a_chat(world, url, **given, allowed="").tell(url, NOTICE)

    assert set(http.asked_for) == {host}


@pytest.mark.parametrize("service", ["json", "mailto"])
def test_a_chat_that_does_not_take_it_is_told_when_it_does(
    world: World, project: ProjectRow, http: HttpReceiver, smtp: SmtpReceiver, service: str
) -> None:
    a_sink(world, project.id, "chat", kind="apprise", url_env="TRUERUN_SECRET_CHAT")
    posted(world, a_run(world, "second").run_id, BAD)
    message = next(each for each in claim(world, kinds=("apprise",)) if each.topic == "alert.changed")
    urls = {
        "json": f"json://127.0.0.1:{http.port}",
        "mailto": f"mailto://127.0.0.1:{smtp.port}?from=truerun@example.org&to=ana@example.org",
    }
    sink = a_chat(world, urls[service])
    http.answer, smtp.is_full = lambda: (500, {}), True

    with pytest.raises(ConnectionError):
        sink.deliver(message)

    assert smtp.letters == []
    http.received.clear()
    http.answer, smtp.is_full = lambda: (200, {}), False
    delivered = sink.deliver(message)
    assert delivered == Delivered(receipt="second: 1 of 3 groups regressed (heights)")
    assert len(http.received) + len(smtp.letters) == 1


def test_an_address_without_encryption_is_refused_unless_allowed(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    a_sink(world, project.id, "chat", kind="apprise", url_env="TRUERUN_SECRET_CHAT")
    posted(world, a_run(world, "second").run_id, BAD)
    message = next(each for each in claim(world, kinds=("apprise",)) if each.topic == "alert.changed")

    with pytest.raises(Refused, match="not encrypted"):
        a_chat(world, f"json://127.0.0.1:{http.port}", needs_tls=True).deliver(message)
    with pytest.raises(Refused, match="none that apprise knows"):
        a_chat(world, "nonsense").deliver(message)


def test_the_same_news_is_told_once_within_the_cooldown(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    a_sink(world, project.id, "chat", kind="apprise", url_env="TRUERUN_SECRET_CHAT", cooldown_minutes=60)
    run = a_run(world, "second").run_id
    sink = a_chat(world, f"json://127.0.0.1:{http.port}")
    posted(world, run, BAD, step=1)
    delivered(world, "apprise", sink)
    posted(world, run, BAD, step=2, now=NOW + timedelta(minutes=1))

    receipts = delivered(world, "apprise", sink)

    assert len(http.received) == 1
    assert "told already" in receipts
    with world.transaction() as session:
        session.execute(text("UPDATE notice_told SET told_at = told_at - interval '2 h'"))
    posted(world, run, BAD, step=3, now=NOW + timedelta(minutes=2))
    delivered(world, "apprise", sink)
    assert len(http.received) == 2


def test_many_at_once_are_told_as_one(world: World, project: ProjectRow, http: HttpReceiver) -> None:
    a_sink(world, project.id, "chat", kind="apprise", url_env="TRUERUN_SECRET_CHAT", digest_from=3)
    for i in range(4):
        posted(world, a_run(world, f"bad-{i}").run_id, BAD)

    receipts = delivered(world, "apprise", a_chat(world, f"json://127.0.0.1:{http.port}"))

    (message,) = told(http)
    assert message["title"] == "4 alerts in burgers"
    assert all(f"bad-{i}: 1 of 3 groups regressed" in message["message"] for i in range(4))
    assert receipts.count("told already") == 3


def test_a_sink_that_is_stuck_is_told_by_the_others(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    a_sink(world, project.id, "mirror", kind="wandb")
    a_sink(world, project.id, "ours", kind="webhook", url=http.url, secret_env="TRUERUN_SECRET_HOOK")
    posted(world, a_run(world, "second").run_id, GOOD)
    delivered(world, "webhook", a_webhook(world))
    http.received.clear()
    (message, *_) = claim(world, kinds=("wandb",))

    world.run(lambda session: outbox.bury(session, message, error="HTTP 403"))

    delivered(world, "webhook", a_webhook(world))
    (notice,) = told(http)
    assert (notice["type"], notice["title"]) == ("truerun.mirror_stuck", "deliveries to mirror are stuck")
    assert "HTTP 403" in notice["text"]
    # And nobody tells the mirror itself, nor of what cannot be told.
    assert not [each for each in claim(world, kinds=("wandb",)) if each.topic == "sink.stuck"]


def test_a_test_is_told_whatever_the_routes_say(
    world: World, project: ProjectRow, http: HttpReceiver
) -> None:
    routes = [{"kinds": ["promotion"]}]
    a_sink(
        world,
        project.id,
        "ours",
        kind="webhook",
        url=http.url,
        secret_env="TRUERUN_SECRET_HOOK",
        routes=routes,
    )
    for _ in range(2):
        world.run(
            lambda session: sinks.test_sink(session, ADMIN, project_key=project.key, name="ours", now=NOW)
        )

        (receipt,) = delivered(world, "webhook", a_webhook(world))

        assert receipt == "HTTP 200"
    first, second = told(http)
    assert (first["type"], first["title"], first["link"]) == (
        "truerun.test",
        "test of sink ours",
        "https://truerun.example/projects/burgers/deliveries",
    )
    assert f"asked for by {ADMIN.name}" in second["text"]
