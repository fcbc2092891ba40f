"""The ledger sees what it is there to see."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.api.calling import Caller, a_post, a_run, an_admin
from tests.faults.ledger import Ledger, disagreements, wrongly_judged

GROUPS = {"a": 0.1, "b": 0.2}


@pytest.fixture
def admin(database_url: str) -> Iterator[Caller]:
    with an_admin(database_url) as admin:
        yield admin


def a_ledger(admin: Caller) -> Ledger:
    """Two posts, the first of them champion, as the clients of a storm keep account of them."""
    ledger = Ledger()
    for number in range(2):
        evaluation = str(uuid4())
        ledger.will_send(evaluation, GROUPS)
        answer = admin.put(
            f"/runs/{a_run(admin, key=f'run-{number}')}/evaluations/{evaluation}", a_post(GROUPS)
        )
        ledger.was_acknowledged(evaluation)
        if number == 0:
            body = {
                "kind": "bootstrap",
                "evaluation": evaluation,
                "expected_version": 0,
                "reason": "x",
            }
            path = f"/projects/heights/suites/{answer['suite']}/baseline/events"
            ledger.was_moved(admin.post(path, body)["version"], "bootstrap", evaluation)
    return ledger


def test_a_ledger_and_a_database_that_agree_have_nothing_to_say(admin: Caller, database_url: str) -> None:
    assert disagreements(a_ledger(admin), database_url) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(
            "DELETE FROM evaluation_value WHERE group_name = 'a'", "in pieces", id="a value is gone"
        ),
        pytest.param("DELETE FROM leaderboard_row", "in pieces", id="board rows are gone"),
        pytest.param("DELETE FROM check_result", "in pieces", id="checks are gone"),
        pytest.param("DELETE FROM outbox_message", "in pieces", id="messages are gone"),
        pytest.param("UPDATE evaluation_value SET value = 7", "other content", id="a value is another"),
        pytest.param("UPDATE baseline SET evaluation_id = NULL", "the pointer", id="nobody is champion"),
        pytest.param("UPDATE baseline_event SET version = 2", "versions with gaps", id="an event is missing"),
        pytest.param("UPDATE run SET validity = 'invalid'", "is invalid", id="an invalid champion"),
    ],
)
def test_whatever_is_harmed_is_named(admin: Caller, database_url: str, harm: str, said: str) -> None:
    ledger = a_ledger(admin)

    with psycopg.connect(database_url) as connection:
        connection.execute(harm)

    assert any(said in each for each in disagreements(ledger, database_url))


def test_a_lost_post_a_lost_event_and_one_that_nobody_sent_are_named(
    admin: Caller, database_url: str
) -> None:
    ledger = a_ledger(admin)
    lost = str(UUID(int=1))
    ledger.was_acknowledged(lost)
    ledger.was_moved(2, "promote", lost)
    ledger.sent.pop(next(iter(ledger.sent)))

    said = " ".join(disagreements(ledger, database_url))

    assert f"acknowledged and lost: {lost}" in said
    assert "acknowledged and not in the events" in said
    assert "nobody sent" in said


def test_a_verdict_that_its_input_does_not_give_is_named(admin: Caller, database_url: str) -> None:
    a_ledger(admin)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE check_result SET outcome = 'improved'")

    assert any("gives another verdict" in each for each in wrongly_judged(database_url))
