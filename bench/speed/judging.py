"""Judging 1,000 groups × 10 metrics, in the process."""

from __future__ import annotations

import random

from app.domain.assess import AssessmentInput, Champion, Sibling, assess
from app.domain.evaluations import Evaluation, Position, Value
from app.domain.metrics import resolve_metric
from app.domain.policies import Policy
from app.domain.suites import Group, Suite
from bench.speed.rows import Row, side_by_side

AIM_MS = 50.0


def judging(*, groups: int = 1000, metrics: int = 10, times: int = 20) -> list[Row]:
    """A candidate against a champion, alone and with four siblings on either side."""
    draw = random.Random(1)
    spec = {"direction": "lower", "ideal": 0, "pooling": "mean"}
    names = [f"g{i}" for i in range(groups)]
    suite = Suite(
        key="s",
        version=1,
        dataset="d",
        groups=tuple(Group(name=name) for name in names),
        metrics=tuple(resolve_metric(f"m{i}", spec) for i in range(metrics)),
        frozen_weights=dict.fromkeys(names, 1.0 / groups),
    )

    def evaluation(key: str) -> Evaluation:
        values = tuple(
            Value(metric=metric.name, group=name, value=draw.uniform(0.95, 1.05), n=100)
            for metric in suite.metrics
            for name in names
        )
        position = Position(attempt=1, step=None, evaluation=key)
        return Evaluation(id=key, run=key, position=position, values=values)

    def siblings(key: str) -> tuple[Sibling, ...]:
        return tuple(Sibling(evaluation=evaluation(f"{key}{i}"), suite=suite) for i in range(4))

    alone = AssessmentInput(
        suite=suite,
        candidate=evaluation("candidate"),
        champion=Champion(evaluation=evaluation("champion"), suite=suite),
        policy=Policy(),
    )
    among = AssessmentInput(
        suite=suite,
        candidate=alone.candidate,
        champion=Champion(evaluation=evaluation("champion"), suite=suite, siblings=siblings("b")),
        policy=Policy(),
        siblings=siblings("c"),
    )
    if assess(alone).judged_cells != groups * metrics:
        raise AssertionError("not every cell was judged")
    plain, seeded = side_by_side([lambda: assess(alone), lambda: assess(among)], times)
    return [
        Row(
            what=f"assess {groups:,} groups × {metrics} metrics",
            measured=str(plain),
            aim=f"≤ {AIM_MS:.0f} ms",
            is_met=plain.p50 <= AIM_MS,
        ),
        Row(
            what="the same with four siblings on either side",
            measured=str(seeded),
            floor=f"{seeded.p50 / plain.p50:.1f} × without",
        ),
    ]
