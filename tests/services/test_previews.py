from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from app.db.tables import assessment, audit_event, policy
from app.domain.access import Actor, Role
from app.domain.evaluations import Purpose
from app.domain.outcomes import Gate
from app.domain.policies import Policy, policy_from_document, policy_from_toml, template
from app.errors import Forbidden
from app.services.policies import Preview, preview, put_policy
from tests.services.world import (
    ADMIN,
    NOW,
    World,
    a_project,
    an_evaluation,
    crowning,
    somebody,
)

DEFAULT = policy_from_toml(template("default"))


def previewed(world: World, draft: Policy, actor: Actor = ADMIN, **arguments: Any) -> Preview:
    return world.run(
        lambda session: preview(session, actor, project_key="burgers", policy=draft, **arguments)
    )


@pytest.fixture
def judged(world: World) -> World:
    """A champion, a run 7 % worse in one group, and a run that is 1 % worse."""
    a_project(world)
    world.run(crowning(an_evaluation(world, "champion", {"a": 0.10, "b": 0.10})))
    an_evaluation(world, "seven", {"a": 0.107, "b": 0.10}, minutes=1)
    an_evaluation(world, "one", {"a": 0.101, "b": 0.10}, minutes=2)
    return world


def test_a_draft_shows_the_verdicts_that_it_would_change_and_no_other(judged: World) -> None:
    shown = previewed(judged, replace(DEFAULT, rel_tol=0.05))

    [change] = shown.changed
    assert shown.examined == 3
    assert (change.run, change.suite, change.stage) == ("seven", "val", "final")
    assert (change.gate_now, change.gate_then) == (Gate.OPEN, Gate.CLOSED)
    assert "a" in change.sentence_then


def test_a_draft_is_only_tried(judged: World) -> None:
    def stored() -> list[int]:
        counts = [select(func.count()).select_from(table) for table in (assessment, policy, audit_event)]
        with judged.transaction() as session:
            return [session.execute(count).scalar_one() for count in counts]

    before = stored()

    assert previewed(judged, replace(DEFAULT, rel_tol=0.05)).changed
    assert stored() == before


def test_the_rules_in_force_change_nothing(judged: World) -> None:
    assert previewed(judged, DEFAULT).changed == ()
    assert previewed(judged, replace(DEFAULT, rel_tol=0.099)).changed == ()


def test_verdicts_are_compared_as_they_stand_whatever_was_put_in_force_since(judged: World) -> None:
    strict = replace(DEFAULT, rel_tol=0.05)
    judged.run(lambda session: put_policy(session, ADMIN, project_key="burgers", policy=strict, now=NOW))

    assert [change.run for change in previewed(judged, strict).changed] == ["seven"]
    assert previewed(judged, DEFAULT).changed == ()


def test_a_new_limit_that_only_warns_changes_the_verdict_but_not_the_gate(judged: World) -> None:
    rules = [{"metric": "mse", "group": "a", "max": 0.105, "severity": "warn"}]

    changes = previewed(judged, policy_from_document({"rule": rules})).changed

    assert [
        (change.run, change.gate_now, change.gate_then) for change in changes if change.run == "seven"
    ] == [("seven", Gate.OPEN, Gate.OPEN)]


def test_only_the_newest_latest_candidates_are_looked_at(judged: World) -> None:
    an_evaluation(judged, "seven", {"a": 0.20, "b": 0.10}, minutes=3)
    an_evaluation(judged, "other", {"a": 0.107, "b": 0.10}, minutes=4, purpose=Purpose.PROGRESS)
    an_evaluation(judged, "newest", {"a": 0.107, "b": 0.10}, minutes=5)
    strict = replace(DEFAULT, rel_tol=0.05)

    assert previewed(judged, strict).examined == 4
    assert [change.run for change in previewed(judged, strict).changed] == ["newest"]
    newest = previewed(judged, strict, limit=1)
    assert (newest.examined, len(newest.changed)) == (1, 1)


def test_a_draft_that_contradicts_itself_is_shown_with_the_warning(judged: World) -> None:
    rules = [
        {"metric": "mse", "group": "a", "min": 0.2},
        {"metric": "mse", "group": "b", "min": 0.2},
        {"metric": "mse", "overall": True, "max": 0.1},
    ]

    assert previewed(judged, policy_from_document({"rule": rules})).warnings


def test_viewers_preview_and_run_tokens_do_not(world: World) -> None:
    project = a_project(world)

    assert previewed(world, DEFAULT, somebody(Role.VIEWER, project)).examined == 0
    with pytest.raises(Forbidden):
        previewed(world, DEFAULT, somebody(Role.RUN, project, run=uuid4()))
