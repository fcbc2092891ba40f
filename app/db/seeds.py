"""Seed sets: the runs that share a recipe on one suite and stage, and how often their set has changed.

A verdict that was computed from siblings is out of date when their set changes. Each set has a version; whoever changes
a set moves it, and whoever judges by one notes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    any_,
    bindparam,
    column,
    exists,
    func,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.tables import evaluation, run, seed_set
from app.domain.evaluations import Validity

# Stands for all recipes that champions of the suite and stage were made by, taken together.
RIVALS = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A candidate evaluation as one of its recipe's runs.

    Args:
        run: The run's key.
        seed: None while the run did not say.
    """

    evaluation_id: UUID
    suite_version: int
    run: str
    recipe: bytes
    seed: int | None


def versions(
    session: Session, *, project_id: UUID, suite_id: UUID, stage: str, recipes: Iterable[bytes]
) -> dict[bytes, int]:
    """The version of each set, RIVALS among them, 0 where it was never moved.

    To be read before the members: a set that changes in between is then judged once too often, and never missed.
    """
    wanted = sorted({*recipes, RIVALS})
    rows = _VERSIONS.all(session, project_id=project_id, suite_id=suite_id, stage=stage, recipes=wanted)
    return dict.fromkeys(wanted, 0) | {row["recipe"]: row["version"] for row in rows}


def members(
    session: Session, *, project_id: UUID, suite_id: UUID, stage: str, recipes: Iterable[bytes]
) -> list[Seed]:
    """Every run of these recipes by its latest valid candidate, by evaluation id; archived runs still count."""
    here = {"project_id": project_id, "suite_id": suite_id, "stage": stage}
    return [Seed(**row) for row in _MEMBERS.all(session, **here, recipes=sorted(set(recipes)))]


def of_evaluations(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Seed]:
    rows = _OF_EVALUATIONS.all(session, project_id=project_id, ids=sorted(set(ids)))
    return {row["evaluation_id"]: Seed(**row) for row in rows}


def move(session: Session, *, project_id: UUID, suite_id: UUID, stage: str, recipe: bytes) -> int:
    """Note that a set changes, and wait for whoever else is changing it; returns its version."""
    moved = _MOVE.first(
        session, project_id=project_id, suite_id=suite_id, stage=stage, recipe=recipe, version=1
    )
    if moved is None:
        raise LookupError("a seed set was moved and has no version")
    version: int = moved["version"]
    return version


def note_judged(
    session: Session, *, project_id: UUID, suite_id: UUID, stage: str, recipe: bytes, version: int
) -> None:
    """Note that every evaluation of the set has been judged by this version of it."""
    _NOTE_JUDGED.run(
        session, project_id=project_id, suite_id=suite_id, stage=stage, of_recipe=recipe, judged=version
    )


def settle(session: Session, *, limit: int = 100) -> int:
    """Note which sets have no evaluation left that is to be judged by them; returns how many.

    What is read here is of one moment, and only its versions are written: a set that moves meanwhile stays unsettled.
    """
    rows = _JUDGED.all(session, most=limit)
    for row in rows:
        note_judged(session, **row)
    return len(rows)


def is_behind() -> ColumnElement[bool]:
    """Whether an `evaluation` that is its run's latest was judged by an earlier set than today's."""
    own = (
        select(seed_set.c.version)
        .join(run, (run.c.project_id == seed_set.c.project_id) & (run.c.recipe == seed_set.c.recipe))
        .where(
            run.c.project_id == evaluation.c.project_id,
            run.c.id == evaluation.c.run_id,
            seed_set.c.suite_id == evaluation.c.suite_id,
            seed_set.c.stage == evaluation.c.stage,
            seed_set.c.version > evaluation.c.seeds_version,
        )
    )
    rivals = select(seed_set.c.version).where(
        *_beside_evaluation(), seed_set.c.recipe == RIVALS, seed_set.c.version > evaluation.c.rivals_version
    )
    return and_(
        evaluation.c.is_latest, exists(own).correlate(evaluation) | exists(rivals).correlate(evaluation)
    )


def behind_their_set() -> ColumnElement[bool]:
    """The first half of `is_behind`, for a search that begins at the few sets that have changed."""
    changed = (
        select(evaluation.c.project_id, evaluation.c.id)
        .select_from(seed_set)
        .join(run, (run.c.project_id == seed_set.c.project_id) & (run.c.recipe == seed_set.c.recipe))
        .join(
            evaluation,
            (evaluation.c.project_id == run.c.project_id)
            & (evaluation.c.run_id == run.c.id)
            & (evaluation.c.suite_id == seed_set.c.suite_id)
            & (evaluation.c.stage == seed_set.c.stage),
        )
        .where(_is_unsettled(), evaluation.c.is_latest, evaluation.c.seeds_version < seed_set.c.version)
    )
    return tuple_(evaluation.c.project_id, evaluation.c.id).in_(changed)


def behind_the_champions() -> ColumnElement[bool]:
    """The second half, as a range of the index that it has for each suite and stage."""
    version = (
        select(seed_set.c.version)
        .where(*_beside_evaluation(), seed_set.c.recipe == RIVALS)
        .correlate(evaluation)
        .scalar_subquery()
    )
    return and_(evaluation.c.is_latest, evaluation.c.rivals_version < version)


def _to_judge() -> Select[tuple[UUID]]:
    of_run = run.alias("of_run")
    latest = evaluation.alias("latest")
    return (
        select(latest.c.id)
        .join(of_run, (of_run.c.project_id == latest.c.project_id) & (of_run.c.id == latest.c.run_id))
        .where(
            of_run.c.project_id == seed_set.c.project_id,
            of_run.c.recipe == seed_set.c.recipe,
            latest.c.suite_id == seed_set.c.suite_id,
            latest.c.stage == seed_set.c.stage,
            latest.c.is_latest,
            latest.c.seeds_version < seed_set.c.version,
        )
    )


def _is_unsettled() -> ColumnElement[bool]:
    return and_(seed_set.c.judged_version < seed_set.c.version, seed_set.c.recipe != RIVALS)


def _beside_evaluation() -> tuple[ColumnElement[bool], ...]:
    return (
        seed_set.c.project_id == evaluation.c.project_id,
        seed_set.c.suite_id == evaluation.c.suite_id,
        seed_set.c.stage == evaluation.c.stage,
    )


def _seeds() -> Select[tuple[UUID, int, str, bytes, int]]:
    return (
        select(
            evaluation.c.id.label("evaluation_id"),
            evaluation.c.suite_version,
            run.c.key.label("run"),
            run.c.recipe,
            run.c.seed,
        )
        .join(run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id))
        .order_by(evaluation.c.id)
    )


def _members() -> Select[tuple[UUID, int, str, bytes, int]]:
    """From the recipes to their runs to each run's latest, in this order.

    While a database is young Postgres knows nothing of its tables, takes every one for small, and would look through
    all runs for each of the evaluations, or the other way round; that plan it may keep for as long as a connection.
    """
    wanted = (
        func.unnest(_RECIPES).table_valued(column("recipe", seed_set.c.recipe.type)).render_derived("wanted")
    )
    runs = (
        select(run.c.project_id, run.c.id, run.c.key, run.c.recipe, run.c.seed)
        .select_from(wanted.join(run, run.c.recipe == wanted.c.recipe))
        .where(run.c.project_id == bindparam("project_id"), run.c.validity != Validity.INVALID.value)
        .cte("runs")
        .prefix_with("MATERIALIZED")
    )
    latest = (
        select(evaluation.c.id, evaluation.c.suite_version)
        .where(
            evaluation.c.project_id == runs.c.project_id,
            evaluation.c.run_id == runs.c.id,
            evaluation.c.suite_id == bindparam("suite_id"),
            evaluation.c.stage == bindparam("stage"),
            evaluation.c.is_latest,
        )
        # Keeps Postgres from turning the order round.
        .offset(0)
        .lateral("latest")
    )
    return (
        select(
            latest.c.id.label("evaluation_id"),
            latest.c.suite_version,
            runs.c.key.label("run"),
            runs.c.recipe,
            runs.c.seed,
        )
        .select_from(runs.join(latest, true()))
        .order_by(latest.c.id)
    )


_HERE = (
    seed_set.c.project_id == bindparam("project_id"),
    seed_set.c.suite_id == bindparam("suite_id"),
    seed_set.c.stage == bindparam("stage"),
)
_RECIPES = bindparam("recipes", type_=ARRAY(seed_set.c.recipe.type))
_VERSIONS = Fixed(
    select(seed_set.c.recipe, seed_set.c.version).where(*_HERE, seed_set.c.recipe == any_(_RECIPES))
)
_MEMBERS = Fixed(_members())
_OF_EVALUATIONS = Fixed(
    _seeds().where(
        evaluation.c.project_id == bindparam("project_id"),
        evaluation.c.id == any_(bindparam("ids", type_=ARRAY(evaluation.c.id.type))),
    )
)
_MOVE = Fixed(
    insert(seed_set)
    .on_conflict_do_update(
        index_elements=list(seed_set.primary_key.columns), set_={"version": seed_set.c.version + 1}
    )
    .returning(seed_set.c.version),
    columns=("project_id", "suite_id", "stage", "recipe", "version"),
)
_NOTE_JUDGED = Fixed(
    update(seed_set)
    .where(*_HERE, seed_set.c.recipe == bindparam("of_recipe"))
    .where(seed_set.c.judged_version < bindparam("judged"))
    .values(judged_version=bindparam("judged"))
)
_JUDGED = Fixed(
    select(*seed_set.primary_key.columns, seed_set.c.version)
    .where(_is_unsettled(), ~exists(_to_judge()).correlate(seed_set))
    .order_by(*seed_set.primary_key.columns)
    .limit(bindparam("most", type_=Integer))
)
