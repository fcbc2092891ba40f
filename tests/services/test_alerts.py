from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db import Session
from app.db.alerts import AlertRow
from app.db.projects import ProjectRow
from app.domain.access import Actor, Role
from app.domain.alerts import AlertKind, State
from app.domain.evaluations import Stated
from app.errors import Forbidden, InvalidInput, NotFound
from app.services.alerts import change_alert
from tests.services.claims import (
    BAD,
    GOOD,
    a_post,
    a_project_with_champion,
    alerts,
    messages,
    open_alerts,
    posted,
    posting,
)
from tests.services.world import ADMIN, NOW, World, a_run, somebody

WORSE = {**BAD, "hard": 0.9, "mid": 0.5}


@pytest.fixture
def project(world: World) -> ProjectRow:
    """With a suite and a champion."""
    return a_project_with_champion(world, "champion")


def changing(row: AlertRow, state: State, *, actor: Actor = ADMIN, minutes: int = 0, **says: Any) -> Any:
    now = NOW + timedelta(minutes=minutes)
    return lambda session: change_alert(session, actor, alert_id=row.id, state=state, now=now, **says)


def states(world: World, project: ProjectRow) -> list[tuple[str, State, int]]:
    return sorted((row.subject, row.alert.state, row.alert.count) for row in alerts(world, project.id))


def test_a_required_regression_opens_one_alert_worst_first(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")

    evaluation_id = posted(world, run.run_id, WORSE)

    (row,) = alerts(world, project.id)
    assert (row.subject, row.run_key, row.suite_key) == (f"run:{run.run_id}", "second", "heights")
    assert (row.evaluation_id, row.alert.kind, row.alert.count) == (evaluation_id, AlertKind.REGRESSION, 1)
    groups = [line.group for line in row.alert.lines if line.worsening is not None]
    assert groups[:2] in (["mid", "tier:mid"], ["tier:mid", "mid"])
    assert len(row.alert.title) < 64
    assert [message.payload["alert"] for message in messages(world, project.id, "alert.changed")] == [
        str(row.id)
    ]


def test_kinds_of_trouble_are_kinds_of_alert(world: World, project: ProjectRow) -> None:
    posted(world, a_run(world, "second").run_id, BAD, stated=Stated(n=5))

    kinds = {row.alert.kind for row in alerts(world, project.id)}

    assert kinds == {AlertKind.REGRESSION, AlertKind.INTEGRITY}


def test_repeats_count_up_and_a_later_pass_resolves(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")
    for step in (1, 2, 3):
        posted(world, run.run_id, BAD, step=step)
    failing = states(world, project)

    posted(world, run.run_id, GOOD, step=4)

    assert failing == [(f"run:{run.run_id}", State.OPEN, 3)]
    assert states(world, project) == [(f"run:{run.run_id}", State.RESOLVED, 3)]


def test_recurrence_reopens_and_another_run_never_resolves(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")
    posted(world, run.run_id, BAD, step=1)
    posted(world, a_run(world, "third").run_id, GOOD, step=2)
    assert len(open_alerts(world, project.id)) == 1
    posted(world, run.run_id, GOOD, step=2)
    assert open_alerts(world, project.id) == []

    posted(world, run.run_id, BAD, step=3)

    assert states(world, project) == [(f"run:{run.run_id}", State.OPEN, 2)]


def test_an_older_evaluation_that_arrives_late_does_not_have_the_last_word(
    world: World, project: ProjectRow
) -> None:
    run = a_run(world, "second")
    newest = posted(world, run.run_id, BAD, step=9)

    posted(world, run.run_id, GOOD, step=1)
    posted(world, run.run_id, WORSE, step=2)

    (row,) = alerts(world, project.id)
    assert (row.alert.state, row.evaluation_id, row.alert.count) == (State.OPEN, newest, 2)


def test_runs_of_a_group_share_their_alerts(world: World, project: ProjectRow) -> None:
    runs = [a_run(world, f"seed-{i}", run_group="sweep").run_id for i in range(2)]
    posted(world, runs[0], BAD, step=1)
    shared = states(world, project)

    posted(world, runs[1], GOOD, step=2)

    assert shared == [("group:sweep", State.OPEN, 1)]
    assert states(world, project) == [("group:sweep", State.RESOLVED, 1)]


@pytest.mark.parametrize("later_passes", [True, False])
def test_two_runs_of_a_group_that_post_at_once_agree_on_the_newest(
    later_passes: bool, world: World, project: ProjectRow
) -> None:
    runs = [a_run(world, f"seed-{i}", run_group="sweep").run_id for i in range(2)]
    older = posting(runs[0], a_post(BAD if later_passes else GOOD, step=1))
    newer = posting(runs[1], a_post(GOOD if later_passes else BAD, step=2))

    world.behind(older, newer)
    first = states(world, project)
    again = [posting(run, a_post(BAD if later_passes else GOOD, step=0)) for run in runs]
    world.behind(*again)

    expected = State.RESOLVED if later_passes else State.OPEN
    assert [state for _, state, _ in first] == [expected]
    assert [state for _, state, _ in states(world, project)] == [expected]


def test_what_people_say_is_kept_while_it_still_fails(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")
    posted(world, run.run_id, BAD, step=1)
    (row,) = alerts(world, project.id)
    world.run(changing(row, State.ACKNOWLEDGED, reason="on it", actor=somebody(Role.REPORTER, project)))

    posted(world, run.run_id, WORSE, step=2)

    (after,) = alerts(world, project.id)
    assert (after.alert.state, after.alert.reason, after.alert.count) == (State.ACKNOWLEDGED, "on it", 2)
    assert after.alert.changed_by == "a reporter of burgers"
    audited = [a for a in world.audit(project.id) if a[0] == "alert.change"]
    assert audited == [("alert.change", f"alert {row.id}")]


def test_a_muted_alert_stays_muted_until_its_time(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")
    posted(world, run.run_id, BAD, step=1)
    (row,) = alerts(world, project.id)
    world.run(changing(row, State.MUTED, reason="known", until=NOW + timedelta(hours=2)))

    posted(world, run.run_id, BAD, step=2, now=NOW + timedelta(hours=1))
    during = states(world, project)
    posted(world, run.run_id, BAD, step=3, now=NOW + timedelta(hours=3))

    assert [state for _, state, _ in during] == [State.MUTED]
    assert [state for _, state, _ in states(world, project)] == [State.OPEN]


def test_what_a_person_resolved_opens_only_for_something_newer(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")
    posted(world, run.run_id, BAD, step=5)
    (row,) = alerts(world, project.id)
    world.run(changing(row, State.RESOLVED, reason="accepted"))

    posted(world, run.run_id, BAD, step=4)
    older = states(world, project)
    posted(world, run.run_id, BAD, step=6)

    assert [state for _, state, _ in older] == [State.RESOLVED]
    assert [state for _, state, _ in states(world, project)] == [State.OPEN]


def test_changing_an_alert_behind_a_post_sees_its_newest_state(world: World, project: ProjectRow) -> None:
    run = a_run(world, "second")
    posted(world, run.run_id, BAD, step=1)
    (row,) = alerts(world, project.id)

    def post(session: Session) -> Any:
        return posting(run.run_id, a_post(WORSE, step=2))(session)

    recorded, changed = world.behind(post, changing(row, State.ACKNOWLEDGED))

    assert changed.evaluation_id == recorded.evaluation_id
    assert states(world, project) == [(f"run:{run.run_id}", State.ACKNOWLEDGED, 2)]


def test_who_may_change_an_alert_and_how(world: World, project: ProjectRow) -> None:
    posted(world, a_run(world, "second").run_id, BAD)
    (row,) = alerts(world, project.id)
    stranger = Actor(name="a stranger", role=Role.MAINTAINER, project=uuid4())

    with pytest.raises(Forbidden):
        world.run(changing(row, State.RESOLVED, actor=somebody(Role.VIEWER, project)))
    for actor, alert_id in ((stranger, row.id), (ADMIN, UUID(int=1))):
        with pytest.raises(NotFound):
            world.run(
                lambda session, a=actor, i=alert_id: change_alert(
                    session, a, alert_id=i, state=State.RESOLVED, now=NOW
                )
            )
    with pytest.raises(InvalidInput):
        world.run(changing(row, State.MUTED, reason="no end"))
