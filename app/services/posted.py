"""What a posted evaluation may say, and the digest by which a retry is known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.db.statements import loss_to_document, stated_to_document
from app.domain.evaluations import DEFAULT_STAGE, OVERALL, Loss, Purpose, Stated, Value
from app.domain.names import name_problem
from app.domain.record import number_to_json
from app.domain.suites import Suite, is_reserved
from app.errors import InvalidInput, Problem
from app.services.documents import checked_key, storable

MAX_VALUES = 20_000
_INT64_END = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedEvaluation:
    """A parsed request.

    Args:
        step: From 0; None when the run counts none.
        attempt_id: None stands for the run's newest attempt.
        info: Strict JSON after `storable`; kept and shown, never judged.
        metrics, groups, about: What a suite that does not exist yet is made of (metric specs by name, group
            documents; dataset, dataset_version, split, protocol). An existing suite is not changed by a post.
    """

    suite: str
    stage: str = DEFAULT_STAGE
    step: int | None = None
    attempt_id: UUID | None = None
    purpose: Purpose = Purpose.CANDIDATE
    values: tuple[Value, ...] = ()
    stated: Stated = field(default_factory=Stated)
    loss: Loss = field(default_factory=Loss)
    info: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] | None = None
    groups: tuple[Mapping[str, Any] | str, ...] | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def metric_names(self) -> list[str]:
        """Every metric that it has a number for, in the order of their first mention."""
        return list(dict.fromkeys([*(value.metric for value in self.values), *self.stated.overall]))

    @property
    def group_names(self) -> list[str]:
        return list(dict.fromkeys(value.group for value in self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPost:
    """A post that may be stored.

    Args:
        values: Sorted by metric and group, as they are read back.
        stated, loss, info: Strict JSON.
        digest: SHA-256 of the content; the order of values plays no part.
    """

    posted: PostedEvaluation
    values: tuple[Value, ...]
    stated: Mapping[str, Any]
    loss: Mapping[str, Any]
    info: Mapping[str, Any]
    digest: bytes


def check_post(posted: PostedEvaluation) -> CheckedPost:
    """Everything that can be said without knowing the suite.

    Raises:
        InvalidInput: With every field that is wrong.
    """
    checked_key(posted.suite, field="suite")
    checked_key(posted.stage, field="stage")
    problems = [*_problems(posted)]
    if problems:
        raise InvalidInput("the evaluation cannot be stored as it is", problems=problems)
    values = tuple(sorted(posted.values, key=lambda value: (value.metric, value.group)))
    stated = storable(stated_to_document(posted.stated), field="stated")
    loss = storable(loss_to_document(posted.loss), field="loss")
    info = storable(posted.info, field="info")
    content = {
        "suite": posted.suite,
        "stage": posted.stage,
        "step": posted.step,
        "attempt_id": None if posted.attempt_id is None else str(posted.attempt_id),
        "purpose": posted.purpose.value,
        "values": [
            [v.metric, v.group, number_to_json(float(v.value)), v.n, number_to_json(v.stderr), v.bound.value]
            for v in values
        ],
        "stated": stated,
        "loss": loss,
        "info": info,
        "metrics": posted.metrics,
        "groups": None if posted.groups is None else list(posted.groups),
        "about": dict(posted.about),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).digest()
    return CheckedPost(posted=posted, values=values, stated=stated, loss=loss, info=info, digest=digest)


def content_digest(posted: PostedEvaluation) -> bytes:
    """SHA-256 of the parsed content; raises as `check_post`."""
    return check_post(posted).digest


def refuse_unknown_metrics(suite: Suite, posted: PostedEvaluation) -> None:
    """Raise InvalidInput where there is a number of a metric that the suite does not have."""
    known = {metric.name for metric in suite.metrics}
    way_out = f"suite {suite.key} has no metric {{!r}}; a maintainer adds it to the suite, or leave it out"
    problems = [
        Problem(field=f"values.{i}.metric", message=way_out.format(value.metric))
        for i, value in enumerate(posted.values)
        if value.metric not in known
    ]
    problems += [
        Problem(field=f"stated.overall.{name}", message=way_out.format(name))
        for name in posted.stated.overall
        if name not in known
    ]
    if problems:
        raise InvalidInput(problems[0].message, field=problems[0].field, problems=problems)


def _problems(posted: PostedEvaluation) -> list[Problem]:
    found = []
    if posted.step is not None and not 0 <= posted.step < _INT64_END:
        found.append(Problem(field="step", message="a step lies between 0 and 2^63 - 1"))
    if not posted.values and not posted.stated.overall:
        found.append(Problem(field="values", message="an evaluation has at least one value"))
    if len(posted.values) > MAX_VALUES:
        found.append(
            Problem(field="values", message=f"at most {MAX_VALUES} values, not {len(posted.values)}")
        )
        return found
    if posted.stated.n is not None and not 0 <= posted.stated.n < _INT64_END:
        found.append(Problem(field="stated.n", message="a count lies between 0 and 2^63 - 1"))
    seen: dict[tuple[str, str], int] = {}
    for i, value in enumerate(() if _are_plain(posted.values) else posted.values):
        for name, message in _value_problems(value):
            found.append(Problem(field=f"values.{i}.{name}", message=message))
        first = seen.setdefault((value.metric, value.group), i)
        if first != i:
            message = f"{value.metric} of {value.group} stands in values.{first} already; send it once"
            found.append(Problem(field=f"values.{i}", message=message))
    found += [
        Problem(field="stated.overall", message=f"a metric's name {problem}")
        for name in posted.stated.overall
        if (problem := name_problem(name))
    ]
    return found


def _are_plain(values: Sequence[Value]) -> bool:
    """Whether there is nothing to say of any value; found out for all of them in a fraction of the time."""
    groups = {value.group for value in values}
    names = groups | {value.metric for value in values}
    return (
        len({(value.metric, value.group) for value in values}) == len(values)
        and not any(map(name_problem, names))
        and not any(is_reserved(group) and group != OVERALL for group in groups)
        and all(n is None or 0 <= n < _INT64_END for n in {value.n for value in values})
        and all(
            stderr is None or (math.isfinite(stderr) and stderr >= 0.0)
            for stderr in {value.stderr for value in values}
        )
    )


def _value_problems(value: Value) -> list[tuple[str, str]]:
    found = []
    if problem := name_problem(value.metric):
        found.append(("metric", f"a metric's name {problem}"))
    if problem := name_problem(value.group):
        found.append(("group", f"a group's name {problem}"))
    elif is_reserved(value.group) and value.group != OVERALL:
        found.append(
            ("group", f"{value.group!r} is computed by the server; rename the group or leave it out")
        )
    if value.n is not None and not 0 <= value.n < _INT64_END:
        found.append(("n", "a count lies between 0 and 2^63 - 1"))
    if value.stderr is not None and not (math.isfinite(value.stderr) and value.stderr >= 0.0):
        found.append(("stderr", "a standard error is a number from 0; leave it out when it is unknown"))
    return found
