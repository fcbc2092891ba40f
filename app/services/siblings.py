"""Who is whose sibling on one suite and stage, and keeping count of when that changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.db import Session, baselines, evaluations, seeds, suites
from app.db.baselines import BaselineRow
from app.db.runs import RunRow
from app.db.seeds import RIVALS, Seed
from app.domain.assess import Sibling
from app.domain.evaluations import Evaluation
from app.domain.promotion import former_champions
from app.domain.suites import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedBook:
    """The runs of some recipes on one suite and stage, at one moment.

    Args:
        versions: Of each recipe's set, and of RIVALS.
        members: By recipe, in the order of evaluation ids.
    """

    versions: Mapping[bytes, int]
    members: Mapping[bytes, Sequence[tuple[Seed, Sibling]]]

    def beside(self, one: Seed, *, without: str | None = None) -> tuple[Sibling, ...]:
        """The siblings of one evaluation: other runs of its recipe.

        Runs that name the same seed are one draw, not two: of those only the first counts, and none beside `one`
        itself. Otherwise whoever posts his best seed ten times would be judged by its mean.

        Args:
            without: The key of a run that shall not count.
        """
        drawn = {one.seed} - {None}
        found = []
        for seed, sibling in self.members.get(one.recipe, ()):
            if seed.run in (one.run, without) or (seed.seed is not None and seed.seed in drawn):
                continue
            drawn.add(seed.seed)
            found.append(sibling)
        return tuple(found)

    def has_others(self, run: RunRow) -> bool:
        """Whether any other run shares this one's recipe."""
        return any(seed.run != run.key for seed, _ in self.members.get(run.recipe, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """Who is champion and who was, oldest first, by whom a candidate of this suite and stage is judged."""

    current: Seed | None
    former: tuple[Seed, ...]

    @property
    def recipes(self) -> set[bytes]:
        return {seat.recipe for seat in (*self.former, *filter(None, [self.current]))}


def reign_of(session: Session, pointer: BaselineRow) -> Reign:
    """The champion and the former champions that no candidate may creep away from."""
    if pointer.version == 0:
        return Reign(current=None, former=())
    former: tuple[UUID, ...] = ()
    if pointer.version > 1:
        events = baselines.history(session, pointer)
        invalid = baselines.unfit(session, pointer, events, archived=False)
        current = None if pointer.evaluation_id is None else str(pointer.evaluation_id)
        former = tuple(map(UUID, former_champions(events, invalid, current=current)))
    ids = [*former, *filter(None, [pointer.evaluation_id])]
    found = seeds.of_evaluations(session, project_id=pointer.project_id, ids=ids)
    return Reign(
        current=None if pointer.evaluation_id is None else found[pointer.evaluation_id],
        former=tuple(found[evaluation_id] for evaluation_id in former),
    )


def open_book(
    session: Session,
    pointer: BaselineRow,
    recipes: Iterable[bytes],
    *,
    known: Mapping[int, Suite],
    champions: Mapping[UUID, Evaluation],
) -> SeedBook:
    """Read the sets of these recipes.

    Args:
        known: Versions of the suite that are at hand.
        champions: Evaluations that are.
    """
    project_id, suite_id, stage = pointer.project_id, pointer.suite_id, pointer.stage
    wanted = set(recipes)
    versions = seeds.versions(session, project_id=project_id, suite_id=suite_id, stage=stage, recipes=wanted)
    found = seeds.members(session, project_id=project_id, suite_id=suite_id, stage=stage, recipes=wanted)
    others = [seed.evaluation_id for seed in found if seed.evaluation_id not in champions]
    loaded = {**champions, **evaluations.load(session, project_id=project_id, ids=others)}
    at = dict(known)
    for version in sorted({seed.suite_version for seed in found} - at.keys()):
        at[version] = suites.load_suite(session, project_id, suite_id, version)
    members: dict[bytes, list[tuple[Seed, Sibling]]] = {}
    for seed in found:
        sibling = Sibling(evaluation=loaded[seed.evaluation_id], suite=at[seed.suite_version])
        members.setdefault(seed.recipe, []).append((seed, sibling))
    return SeedBook(versions=versions, members=members)


def seed_of(run: RunRow, evaluation_id: UUID, suite_version: int) -> Seed:
    """An evaluation of this run, stored or not, as one of its recipe's runs."""
    return Seed(
        evaluation_id=evaluation_id,
        suite_version=suite_version,
        run=run.key,
        recipe=run.recipe,
        seed=run.seed,
    )


def move_sets(
    session: Session, boards: Iterable[tuple[UUID, str]], *, project_id: UUID, recipes: Iterable[bytes]
) -> None:
    """Note on each (suite id, stage) that the sets of these recipes change; before any pointer is locked."""
    for suite_id, stage in sorted(boards):
        for recipe in sorted(set(recipes)):
            seeds.move(session, project_id=project_id, suite_id=suite_id, stage=stage, recipe=recipe)


def move_rivals(session: Session, pointer: BaselineRow) -> int:
    """Note that what candidates are measured against has changed though the pointer has not moved.

    The pointer is locked, so that who is champion does not change before this is seen.
    """
    return seeds.move(
        session,
        project_id=pointer.project_id,
        suite_id=pointer.suite_id,
        stage=pointer.stage,
        recipe=RIVALS,
    )


def move_rivals_of(session: Session, pointers: Iterable[BaselineRow], recipes: Iterable[bytes]) -> None:
    """The same wherever one of the recipes has made a champion; the pointers are locked, in their order."""
    changed = set(recipes)
    for pointer in pointers:
        if not changed.isdisjoint(reign_of(session, pointer).recipes):
            move_rivals(session, pointer)
