from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from app.db import Session, suites
from app.db.suites import SuiteRow
from app.db.tables import suite, suite_version
from app.domain.access import Actor, Role
from app.domain.metrics import WELL_KNOWN
from app.domain.suites import Group, lead_metric
from app.errors import Forbidden, InvalidInput, NotFound
from app.services.suites import create_from_post, list_suites, put_suite, show_suite
from tests.services.world import ADMIN, NOW, World, a_project, somebody

HEIGHTS = {
    "dataset": "heights",
    "groups": [{"name": "k=4,m=2", "tier": "easy"}, "k=8,m=2"],
    "metrics": {"mse": None, "accuracy": None},
}


def putting(
    actor: Actor = ADMIN, document: Mapping[str, Any] = HEIGHTS, *, project: str = "burgers", key: str = "val"
) -> Callable[[Session], SuiteRow]:
    return lambda session: put_suite(
        session, actor, project_key=project, suite_key=key, document=document, now=NOW, new_id=uuid4
    )


def posting(
    actor: Actor,
    project: UUID,
    *,
    run: UUID | None = None,
    metrics: Mapping[str, Any] | None = None,
    groups: list[dict[str, Any] | str] | None = None,
    metric_names: tuple[str, ...] = ("mse",),
    group_names: tuple[str, ...] = (),
    **about: str,
) -> Callable[[Session], SuiteRow]:
    return lambda session: create_from_post(
        session,
        actor,
        project_id=project,
        run_id=run or uuid4(),
        suite_key="val",
        metrics=metrics,
        groups=groups,
        metric_names=metric_names,
        group_names=group_names,
        about=about,
        now=NOW,
        new_id=uuid4,
    )


def versions(world: World) -> list[int]:
    with world.transaction() as session:
        numbers = session.execute(select(suite_version.c.version).order_by(suite_version.c.version)).scalars()
        assert session.execute(select(func.count()).select_from(suite)).scalar_one() == 1
        return list(numbers)


def test_a_reporter_creates_a_suite(world: World) -> None:
    project = a_project(world)
    reporter = somebody(Role.REPORTER, project)

    row = world.run(putting(reporter))

    assert (row.project_id, row.key, row.version, row.created_by) == (project.id, "val", 1, reporter.name)
    assert (row.frozen_weights, row.weights_final) == (None, False)
    made = row.to_domain()
    assert made.groups == (Group(name="k=4,m=2", tier="easy"), Group(name="k=8,m=2"))
    assert made.metrics == (WELL_KNOWN["mse"], WELL_KNOWN["accuracy"])
    assert world.audit(project.id)[1:] == [("suite.create", "suite val")]
    assert world.audit_rows(project.id)[-1].detail == {"version": 1}


def test_the_same_document_in_other_words_makes_no_new_version(world: World) -> None:
    project = a_project(world)
    reporter = somebody(Role.REPORTER, project)
    first = world.run(putting(reporter))
    before = world.audit(project.id)

    spelled = {
        **HEIGHTS,
        "protocol": "",
        "metrics": {"mse": {"direction": "lower", "ideal": 0}, "accuracy": "higher"},
        "groups": [{"name": "k=4,m=2", "tier": "easy", "label": None}, {"name": "k=8,m=2"}],
    }
    again = [world.run(putting(reporter, document)) for document in (HEIGHTS, first.document)]

    assert again == [first, first]
    assert (world.audit(project.id), versions(world)) == (before, [1])
    assert world.run(putting(ADMIN, spelled)).to_domain().groups == first.to_domain().groups


def test_a_reporter_may_not_change_a_suite(world: World) -> None:
    reporter = somebody(Role.REPORTER, a_project(world))
    world.run(putting(reporter))

    with pytest.raises(Forbidden):
        world.run(putting(reporter, {**HEIGHTS, "split": "test"}))

    assert versions(world) == [1]


def test_a_maintainers_change_is_the_next_version_and_the_last_one_stays(world: World) -> None:
    project = a_project(world)
    first = world.run(putting())

    second = world.run(putting(somebody(Role.MAINTAINER, project), {**HEIGHTS, "split": "test"}))

    assert (second.id, second.version) == (first.id, 2)
    with world.transaction() as session:
        assert suites.load_suite(session, project.id, first.id, 1) == first.to_domain()
        assert suites.load_suite(session, project.id, first.id, 2).split == "test"
        assert suites.newest(session, project_id=project.id, key="val") == second
        with pytest.raises(LookupError):
            suites.load_suite(session, project.id, first.id, 3)
    last = world.audit_rows(project.id)[-1]
    assert (last.action, last.subject) == ("suite.change", "suite val")
    assert last.detail == {"version": 2, "changed": ["split"]}


def test_two_equal_creations_at_once_are_one_version(world: World) -> None:
    project = a_project(world)
    reporter = somebody(Role.REPORTER, project)

    first, second = world.behind(putting(reporter), putting(reporter))

    assert first == second
    assert versions(world) == [1]
    assert world.audit(project.id).count(("suite.create", "suite val")) == 1


def test_two_different_creations_at_once_are_a_creation_and_a_change(world: World) -> None:
    project = a_project(world)
    other = {**HEIGHTS, "split": "test"}

    _, refused = world.behind(putting(), putting(somebody(Role.REPORTER, project), other))
    changed = world.run(putting(somebody(Role.MAINTAINER, project), other))

    assert isinstance(refused, Forbidden)
    assert changed.version == 2


def test_changes_at_once_are_numbered_without_gaps(world: World) -> None:
    a_project(world)
    world.run(putting())

    world.together(*(putting(ADMIN, {**HEIGHTS, "split": f"s{i}"}) for i in range(6)))

    assert versions(world) == [1, 2, 3, 4, 5, 6, 7]


def test_frozen_weights_are_read_with_every_version(world: World) -> None:
    project = a_project(world)
    row = world.run(putting())

    with world.transaction() as session:
        session.execute(update(suite).values(frozen_weights={"k=4,m=2": 0.25, "k=8,m=2": 0.75}))
        read = suites.load_suite(session, project.id, row.id, 1)

    assert read.frozen_weights == {"k=4,m=2": 0.25, "k=8,m=2": 0.75}


def test_the_lead_metric_survives_the_database(world: World) -> None:
    a_project(world)

    row = world.run(putting(ADMIN, {"metrics": {"zeta": "lower", "mse": None, "alpha": "higher"}}))

    lead = lead_metric(row.to_domain())
    assert lead is not None
    assert lead.name == "zeta"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "metrics"),
        ({"metrics": {"mine": None}}, "metrics.mine"),
        ({"metrics": {"mse": None}, "dataset": "a\0"}, "dataset"),
        ({"metrics": {"mse": {"unit": "\ud800"}}}, "metrics.mse.unit"),
        ({"metrics": {"mse": {"ideal": float("nan")}}}, "metrics.mse.ideal"),
        ({"metrics": {"mse": None}, "groups": [{"name": "a", "weight": 2**70}]}, "groups.0.weight"),
        ({"metrics": {"mse": None}, "groups": ["overall"]}, "groups.0.name"),
    ],
)
def test_a_document_that_says_nothing_sound_is_refused_with_its_field(
    world: World, document: dict[str, Any], field: str
) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        world.run(putting(ADMIN, document))

    assert caught.value.field == field


@pytest.mark.parametrize("key", ["", "a/b", "..", "a\0"])
def test_a_suite_key_that_cannot_stand_in_an_address_is_refused(world: World, key: str) -> None:
    a_project(world)

    with pytest.raises(InvalidInput) as caught:
        world.run(putting(ADMIN, key=key))

    assert caught.value.field == "suite"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RUN])
def test_viewers_and_run_tokens_make_no_suites(world: World, role: Role) -> None:
    project = a_project(world)
    run = uuid4() if role is Role.RUN else None

    for call in (
        putting(somebody(role, project, run=run)),
        posting(somebody(role, project, run=run), project.id, run=run),
    ):
        with pytest.raises(Forbidden):
            world.run(call)


def test_a_first_post_brings_its_suite_with_it(world: World) -> None:
    project = a_project(world)
    reporter = somebody(Role.REPORTER, project)

    row = world.run(
        posting(
            reporter,
            project.id,
            metrics={"my_err": "lower"},
            metric_names=("mse", "my_err"),
            group_names=("b", "a", "b", "overall"),
            dataset="heights",
            split="val",
        )
    )

    made = row.to_domain()
    assert [metric.name for metric in made.metrics] == ["my_err", "mse"]
    assert [group.name for group in made.groups] == ["b", "a"]
    assert (made.version, made.dataset, made.split) == (1, "heights", "val")
    assert world.audit(project.id)[-1] == ("suite.create", "suite val")


def test_a_first_post_that_lists_groups_is_taken_at_its_word(world: World) -> None:
    project = a_project(world)
    groups: list[dict[str, Any] | str] = [{"name": "a", "tier": "easy"}, "c"]

    row = world.run(posting(ADMIN, project.id, groups=groups, group_names=("a", "b")))

    assert row.to_domain().groups == (Group(name="a", tier="easy"), Group(name="c"))


def test_a_first_post_with_an_unknown_metric_is_told_what_to_say(world: World) -> None:
    project = a_project(world)

    with pytest.raises(InvalidInput, match="lower") as caught:
        world.run(posting(ADMIN, project.id, metric_names=("my_err",)))

    assert caught.value.field == "metrics.my_err"


def test_of_two_first_posts_at_once_both_use_the_suite_of_the_first(world: World) -> None:
    project = a_project(world)

    first, second = world.behind(
        posting(ADMIN, project.id, metric_names=("mse",)), posting(ADMIN, project.id, metric_names=("mae",))
    )

    assert first == second
    assert world.audit(project.id).count(("suite.create", "suite val")) == 1


def test_suites_are_listed_by_key_in_their_newest_version(world: World) -> None:
    a_project(world)
    for key in ("c", "a", "b"):
        world.run(putting(ADMIN, key=key))
    world.run(putting(ADMIN, {**HEIGHTS, "split": "test"}, key="a"))

    def page(limit: int, after: str | None = None) -> list[tuple[str, int]]:
        with world.transaction() as session:
            rows = list_suites(session, ADMIN, project_key="burgers", limit=limit, after=after)
        return [(row.key, row.version) for row in rows]

    assert page(2) == [("a", 2), ("b", 1)]
    assert page(2, "b") == [("c", 1)]


def test_a_suite_that_does_not_exist_is_not_found(world: World) -> None:
    project = a_project(world)
    other = a_project(world, "other")
    world.run(putting())

    def show(actor: Actor, key: str) -> SuiteRow:
        return world.run(lambda session: show_suite(session, actor, project_key="burgers", suite_key=key))

    assert show(somebody(Role.VIEWER, project), "val").version == 1
    for actor, key in ((ADMIN, "absent"), (ADMIN, "a\0"), (somebody(Role.VIEWER, other), "val")):
        with pytest.raises(NotFound):
            show(actor, key)
