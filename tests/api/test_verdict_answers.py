"""A verdict is answered the same way when it is given and whenever it is asked for again."""

from __future__ import annotations

from uuid import uuid4

from app.api.answers import VerdictAnswer
from tests.api.calling import Caller, a_post, a_run, an_evaluation


def test_a_retry_is_answered_with_what_was_answered_first(admin: Caller) -> None:
    champion = an_evaluation(admin, a_run(admin, key="champion"), {"a": 1.0, "b": 0.5, "c": 0.25})
    event = {"kind": "bootstrap", "evaluation": champion["evaluation"], "expected_version": 0, "reason": "x"}
    admin.post("/projects/heights/suites/val/baseline/events", event)
    path = f"/runs/{a_run(admin, key='candidate')}/evaluations/{uuid4()}"
    body = a_post({"a": 1e-7, "b": 2.5, "c": "NaN", "δ=2": "-Infinity"})  # type: ignore[dict-item]

    first = admin.send("PUT", path, body)
    again = admin.send("PUT", path, body)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["content-type"] == again.headers["content-type"] == "application/json"
    assert first.json() == again.json()
    assert list(first.json()) == list(again.json()) == list(VerdictAnswer.model_fields)
    found = {check["group"]: (check["outcome"], check["candidate"]) for check in first.json()["checks"]}
    assert found["c"] == ("failed", "NaN")
    assert found["δ=2"] == ("failed", "-Infinity")
    assert found["b"][0] == "regressed"
