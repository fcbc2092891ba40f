"""Several runs of a project beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from app.db import Session, comparisons, policies, suites
from app.db.comparisons import BesideRow
from app.db.runs import RunRow
from app.domain.access import Action, Actor
from app.domain.evaluations import DEFAULT_STAGE, Value
from app.domain.side_by_side import Side, SideRow, side_by_side
from app.domain.suites import Suite
from app.errors import InvalidInput, NotFound
from app.services.projects import project_for

FEWEST, MOST = 2, 20
MOST_VALUES = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be compared.

    Args:
        runs: Keys or ids, in the order of the columns.
        suite, stage, metric: Only these; None for all.
        base: The run that the others are measured against, one of `runs`; None for the champion, where it is among
            them, else the first.
    """

    runs: Sequence[str]
    suite: str | None = None
    stage: str | None = None
    metric: str | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The runs on one suite and stage.

    Args:
        base: Which run the others are measured against, by its place.
        evaluations: One a run; None where it has none.
    """

    suite: str
    stage: str
    base: int
    base_because: Literal["asked", "champion", "first"]
    evaluations: tuple[BesideRow | None, ...]
    rows: tuple[SideRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotShared:
    """A suite and stage that only one of the runs has an evaluation on."""

    suite: str
    stage: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The answer.

    Args:
        volatile: The policy's patterns of config keys that belong to no recipe.
    """

    project: str
    runs: tuple[RunRow, ...]
    volatile: tuple[str, ...]
    standings: tuple[Standing, ...]
    not_shared: tuple[NotShared, ...]


def compare_runs(session: Session, actor: Actor, *, project_key: str, wish: Wish) -> Compared:
    """The runs with the suites that at least two of them share; a suite that was named is shown in any case.

    Raises:
        InvalidInput: Too few or too many runs, one twice, a base that is not among them, a suite, stage or metric that
            none of them has, or more numbers than one answer holds.
        NotFound: A run that the project has not; the message names it.
    """
    project = project_for(session, actor, key=project_key, action=Action.PROJECT_READ)
    runs = _runs(session, project.id, project.key, wish.runs)
    asked = None if wish.base is None else _base(runs, wish.base)
    beside = comparisons.evaluations_beside(
        session,
        project_id=project.id,
        run_ids=[run.id for run in runs],
        suite_key=wish.suite,
        stage=wish.stage,
    )
    boards: dict[tuple[str, str], dict[UUID, BesideRow]] = {}
    for row in beside:
        boards.setdefault((row.suite, row.stage), {})[row.run_id] = row
    if not boards and (wish.suite is not None or wish.stage is not None):
        raise _nobody_there(session, project.id, runs, wish)
    shared = {place: rows for place, rows in boards.items() if len(rows) >= FEWEST or wish.suite is not None}
    values = comparisons.cells_of(
        session,
        project_id=project.id,
        evaluation_ids=[row.evaluation_id for rows in shared.values() for row in rows.values()],
        metric=wish.metric,
        limit=MOST_VALUES,
    )
    if values is None:
        raise InvalidInput(
            f"these runs have more than {MOST_VALUES:,} numbers in common; name a suite and a metric",
            field="metric" if wish.suite is not None else "suite",
        )
    _refuse_unknown_metric(wish.metric, shared, values)
    known = _suites(session, project.id, shared)
    return Compared(
        project=project.key,
        runs=tuple(runs),
        volatile=policies.newest(session, project.id).volatile,
        standings=tuple(
            _standing(place, [rows.get(run.id) for run in runs], asked, known, values)
            for place, rows in sorted(shared.items(), key=_order)
        ),
        not_shared=tuple(
            NotShared(suite=suite, stage=stage, run=run.key)
            for (suite, stage), rows in sorted(boards.items())
            for run in runs
            if (suite, stage) not in shared and run.id in rows
        ),
    )


def _runs(session: Session, project_id: UUID, project: str, names: Sequence[str]) -> list[RunRow]:
    """The runs in the order they are named; a key goes before an id of the same letters."""
    if not FEWEST <= len(names) <= MOST:
        raise InvalidInput(f"name {FEWEST} to {MOST} runs, not {len(names)}", field="runs")
    ids = {name: one for name in names if (one := _id(name)) is not None}
    found = comparisons.runs_named(
        session,
        project_id=project_id,
        keys=[name for name in names if name.isascii() and name.isprintable()],
        ids=ids.values(),
    )
    by_key, by_id = {run.key: run for run in found}, {run.id: run for run in found}
    chosen: list[RunRow] = []
    for name in names:
        run = by_key.get(name) or by_id.get(ids.get(name, _NOBODY))
        if run is None:
            raise NotFound(
                f"no run {name[:128]!r} in project {project}; its runs are listed under the project"
            )
        if run in chosen:
            raise InvalidInput(f"run {run.key} is named twice; a run is compared with others", field="runs")
        chosen.append(run)
    return chosen


_NOBODY = UUID(int=0)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _base(runs: Sequence[RunRow], name: str) -> int:
    for i, run in enumerate(runs):
        if name in (run.key, str(run.id)):
            return i
    raise InvalidInput(f"the base is one of the runs that are compared, not {name[:128]!r}", field="base")


def _order(item: tuple[tuple[str, str], object]) -> tuple[str, bool, str]:
    suite, stage = item[0]
    return suite, stage != DEFAULT_STAGE, stage


def _suites(
    session: Session, project_id: UUID, shared: Mapping[tuple[str, str], Mapping[UUID, BesideRow]]
) -> dict[tuple[UUID, int], Suite]:
    versions = {(row.suite_id, row.suite_version) for rows in shared.values() for row in rows.values()}
    return {
        (suite_id, version): suites.load_suite(session, project_id, suite_id, version)
        for suite_id, version in sorted(versions)
    }


def _standing(
    place: tuple[str, str],
    rows: Sequence[BesideRow | None],
    asked: int | None,
    known: Mapping[tuple[UUID, int], Suite],
    values: Mapping[UUID, Mapping[tuple[str, str], Value]],
) -> Standing:
    sides = [
        None
        if row is None
        else Side(
            suite=known[row.suite_id, row.suite_version],
            values=values[row.evaluation_id],
            weights_version=row.weights_version,
        )
        for row in rows
    ]
    champion = next(
        (i for i, row in enumerate(rows) if row is not None and row.champion_run == row.run_id), None
    )
    base = asked if asked is not None else champion if champion is not None else 0
    return Standing(
        suite=place[0],
        stage=place[1],
        base=base,
        base_because="asked" if asked is not None else "champion" if champion is not None else "first",
        evaluations=tuple(rows),
        rows=side_by_side(sides, base),
    )


def _refuse_unknown_metric(
    metric: str | None,
    shared: Mapping[tuple[str, str], Mapping[UUID, BesideRow]],
    values: Mapping[UUID, Mapping[tuple[str, str], Value]],
) -> None:
    if metric is not None and shared and not any(values.values()):
        raise InvalidInput(f"none of these runs has a number for metric {metric!r}", field="metric")


def _nobody_there(session: Session, project_id: UUID, runs: Sequence[RunRow], wish: Wish) -> InvalidInput:
    every = comparisons.evaluations_beside(
        session, project_id=project_id, run_ids=[run.id for run in runs], suite_key=None, stage=None
    )
    there = ", ".join(sorted({f"{row.suite}/{row.stage}" for row in every})[:8])
    asked = "/".join(filter(None, (wish.suite, wish.stage)))
    return InvalidInput(
        f"none of these runs has a candidate evaluation on {asked}"
        + (f"; they have {there}" if there else "; they have none at all"),
        field="suite" if wish.suite is not None else "stage",
    )
