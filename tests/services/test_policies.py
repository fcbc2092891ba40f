from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from app.db import Session, policies
from app.db.suites import SuiteRow
from app.domain.access import Actor, Role
from app.domain.policies import Policy, policy_from_document, policy_from_toml, template
from app.errors import Forbidden, InvalidInput, NotFound
from app.services.policies import PutPolicy, put_policy, show_policy
from app.services.suites import put_suite
from tests.services.world import ADMIN, NOW, World, a_project, somebody

DEFAULT = policy_from_toml(template("default"))


def putting(policy: Policy, actor: Actor = ADMIN) -> Callable[[Session], PutPolicy]:
    return lambda session: put_policy(session, actor, project_key="burgers", policy=policy, now=NOW)


def a_suite(world: World, key: str, groups: Sequence[Mapping[str, Any]] = ()) -> SuiteRow:
    document = {"metrics": {"mse": None}, "groups": list(groups)}
    return world.run(
        lambda session: put_suite(
            session, ADMIN, project_key="burgers", suite_key=key, document=document, now=NOW, new_id=uuid4
        )
    )


def test_a_change_is_the_next_version_and_the_last_one_stays(world: World) -> None:
    project = a_project(world)
    maintainer = somebody(Role.MAINTAINER, project)
    strict = replace(DEFAULT, rel_tol=0.05)

    version, warnings = world.run(putting(strict, maintainer))

    assert (version, warnings) == (2, ())
    with world.transaction() as session:
        assert policies.newest(session, project.id) == replace(strict, version=2)
        assert policies.at(session, project.id, 1) == replace(DEFAULT, version=1)
        row = policies.newest_row(session, project.id)
        assert (row.version, row.created_at, row.created_by) == (2, NOW, maintainer.name)
    last = world.audit_rows(project.id)[-1]
    assert (last.action, last.subject, last.actor) == ("policy.change", "policy 2", maintainer.name)
    assert (last.policy_version, last.detail) == (2, {"changed": ["rel_tol"]})


def test_the_rules_in_force_put_again_make_no_new_version(world: World) -> None:
    project = a_project(world)
    before = world.audit(project.id)

    assert world.run(putting(replace(DEFAULT, version=99))).version == 1
    assert world.audit(project.id) == before


def test_going_back_to_earlier_rules_is_a_new_version(world: World) -> None:
    a_project(world)
    world.run(putting(replace(DEFAULT, rel_tol=0.05)))

    assert world.run(putting(DEFAULT)).version == 3


def test_changes_at_once_are_numbered_without_gaps(world: World) -> None:
    project = a_project(world)

    answers = world.together(*(putting(replace(DEFAULT, rel_tol=0.2 + i / 100)) for i in range(6)))

    assert sorted(answer.version for answer in answers) == [2, 3, 4, 5, 6, 7]
    assert len(world.audit(project.id)) == 7


def test_the_same_change_twice_at_once_is_one_version(world: World) -> None:
    project = a_project(world)
    strict = putting(replace(DEFAULT, rel_tol=0.05))

    first, second = world.behind(strict, strict)

    assert (first.version, second.version) == (2, 2)
    assert len(world.audit(project.id)) == 2


def test_a_change_does_not_hold_up_who_only_refers_to_the_project(world: World) -> None:
    a_project(world)

    with world.transaction() as session:
        answer = putting(replace(DEFAULT, rel_tol=0.05))(session)
        made = a_suite(world, "val")

    assert (answer.version, made.version) == (2, 1)


def test_limits_that_contradict_each_other_are_accepted_with_a_warning(world: World) -> None:
    a_project(world)
    groups = [{"name": tier[0], "tier": tier} for tier in ("easy", "medium", "hard")]
    for key in ("val", "test"):
        a_suite(world, key, groups)
    rules = [
        {"metric": "mse", "tier": "medium", "min": 0.20},
        {"metric": "mse", "tier": "hard", "min": 0.70},
        {"metric": "mse", "overall": True, "max": 0.28},
    ]

    version, warnings = world.run(putting(policy_from_document({"rule": rules})))

    assert version == 2
    assert warnings
    assert any("0.28" in warning for warning in warnings)
    assert len(set(warnings)) == len(warnings)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REPORTER, Role.RUN])
def test_only_maintainers_change_the_rules(world: World, role: Role) -> None:
    project = a_project(world)
    actor = somebody(role, project, run=uuid4() if role is Role.RUN else None)

    with pytest.raises(Forbidden):
        world.run(putting(DEFAULT, actor))


def test_rules_that_postgres_cannot_keep_are_refused(world: World) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        world.run(putting(replace(DEFAULT, volatile=("a", "b\0"))))

    assert caught.value.field == "volatile.1"


def test_a_version_is_shown_and_one_that_never_was_is_not_found(world: World) -> None:
    project = a_project(world)
    other = a_project(world, "other")
    world.run(putting(replace(DEFAULT, rel_tol=0.05)))

    def shown(actor: Actor, version: int | None = None) -> int:
        return world.run(
            lambda session: show_policy(session, actor, project_key="burgers", version=version)
        ).version

    viewer = somebody(Role.VIEWER, project)
    assert [shown(viewer), shown(viewer, 1), shown(viewer, 2)] == [2, 1, 2]
    for version in (0, 3, -1, 2**40):
        with pytest.raises(NotFound):
            shown(viewer, version)
    with pytest.raises(NotFound):
        shown(somebody(Role.VIEWER, other))
