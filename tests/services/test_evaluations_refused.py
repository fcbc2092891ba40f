from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from app.domain.evaluations import Stated, Value
from app.errors import InvalidInput, NotFound
from app.services.evaluations import PostedEvaluation
from tests.services.claims import GOOD, METRIC, a_post, a_suite, messages, posting
from tests.services.world import World, a_project, a_run


def a_value(**says: Any) -> Value:
    return Value(**({"metric": METRIC, "group": "easy", "value": 0.1} | says))


def with_value(**says: Any) -> PostedEvaluation:
    return replace(a_post(), values=(*a_post({"mid": 0.2}).values, a_value(**says)))


REFUSED: dict[str, tuple[PostedEvaluation, str, str]] = {
    "unknown metric": (with_value(metric="mse"), "values.1.metric", "no metric 'mse'"),
    "unknown stated metric": (a_post(stated=Stated(overall={"mse": 0.1})), "stated.overall.mse", "no metric"),
    "tier as group": (with_value(group="tier:easy"), "values.1.group", "computed by the server"),
    "macro as group": (with_value(group="macro"), "values.1.group", "computed by the server"),
    "worst as group": (with_value(group="worst"), "values.1.group", "computed by the server"),
    "the same twice": (with_value(group="mid"), "values.1", "send it once"),
    "empty group": (with_value(group=""), "values.1.group", "at least one character"),
    "control character": (with_value(group="a\nb"), "values.1.group", "printable"),
    "lone surrogate": (with_value(group="\ud800"), "values.1.group", "printable"),
    "metric with NUL": (with_value(metric="a\0"), "values.1.metric", "printable"),
    "negative n": (with_value(n=-1), "values.1.n", "between 0"),
    "huge n": (with_value(n=2**63), "values.1.n", "2^63"),
    "negative stderr": (with_value(stderr=-0.1), "values.1.stderr", "from 0"),
    "stderr NaN": (with_value(stderr=math.nan), "values.1.stderr", "from 0"),
    "negative step": (a_post(step=-1), "step", "between 0"),
    "huge step": (a_post(step=2**63), "step", "2^63"),
    "stated n": (a_post(stated=Stated(n=-1)), "stated.n", "between 0"),
    "nothing": (a_post({}), "values", "at least one value"),
    "stage": (a_post(stage="a b"), "stage", "a key is"),
    "suite": (a_post(suite="a/b"), "suite", "a key is"),
    "info with NUL": (a_post(info={"a": ["\0"]}), "info.a.0", "NUL"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_understood_is_refused_by_field(case: str, world: World) -> None:
    project = a_project(world)
    a_suite(world)
    run = a_run(world, "first")
    post, field, words = REFUSED[case]

    with pytest.raises(InvalidInput) as refusal:
        world.run(posting(run.run_id, post))

    assert [problem.field for problem in refusal.value.problems] == [field]
    assert words in refusal.value.problems[0].message
    assert messages(world, project.id) == []


def test_every_wrong_field_is_named_at_once(world: World) -> None:
    a_project(world)
    a_suite(world)
    run = a_run(world, "first")
    post = replace(a_post(step=-1), values=(a_value(n=-1), a_value(group="macro"), a_value()))

    with pytest.raises(InvalidInput) as refusal:
        world.run(posting(run.run_id, post))

    fields = {problem.field for problem in refusal.value.problems}
    assert fields == {"step", "values.0.n", "values.1.group", "values.2"}


def test_a_run_that_does_not_exist_is_not_found(world: World) -> None:
    a_project(world)
    a_suite(world)

    with pytest.raises(NotFound):
        world.run(posting(uuid4(), a_post(GOOD)))
