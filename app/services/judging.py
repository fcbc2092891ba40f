"""From stored rows to a verdict: what a verdict is computed from, now or as it was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from app.db import Session, baselines, evaluations, policies, suites, weights
from app.db import runs as runs_table
from app.db.assessments import AssessmentRow, Inputs, Posted, Reigned
from app.db.baselines import BaselineRow
from app.db.leaderboards import BoardCell
from app.db.runs import RunRow
from app.db.seeds import Seed
from app.db.weights import FrozenWeights
from app.domain.assess import AssessmentInput, Champion, Sibling, assess, board_values
from app.domain.evaluations import Evaluation, Purpose, Validity
from app.domain.metrics import Metric
from app.domain.outcomes import Verdict
from app.domain.policies import Policy
from app.domain.ranking import sort_position
from app.domain.suites import CellDigests, Suite
from app.errors import NotFound
from app.services.siblings import Reign, SeedBook, open_book, reign_of, seed_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """What every candidate of one suite and stage is judged by, at one moment.

    Args:
        pointer: Locked by whoever stores the verdict.
        reign: Who is champion and who was.
        champions: Those of `reign` by evaluation id, each on its own suite version.
        seeds: Their siblings and the candidates'.
    """

    project_id: UUID
    pointer: BaselineRow
    reign: Reign
    champions: Mapping[UUID, Champion]
    seeds: SeedBook
    weights: FrozenWeights
    policy: Policy

    @property
    def champion(self) -> Champion | None:
        """On its own suite version, without siblings; None when the seat is vacant."""
        seat = self.reign.current
        return None if seat is None else self.champions[seat.evaluation_id]

    def weighing(self, suite: Suite) -> Suite:
        """The suite version with the weights of this moment."""
        return replace(suite, frozen_weights=self.weights.shares or {})

    def input_for(self, candidate: Evaluation, suite: Suite, run: RunRow) -> AssessmentInput:
        """What the verdict on a candidate of this run follows from.

        Validity is left out: it is laid over a verdict when it is read, so that a verdict stays true when an
        evaluation is restored, and does not depend on which came first, the post or the invalidation.

        A candidate is never among those that it is measured against. One of the champion's own recipe stands for
        itself alone, and so does a measurement during training: beside it there is nothing of the same step.
        """
        own = seed_of(run, UUID(candidate.id), suite.version)
        current = self.reign.current
        is_rival = current is None or current.recipe != own.recipe
        siblings = self.seeds.beside(own) if is_rival and candidate.purpose is Purpose.CANDIDATE else ()
        return AssessmentInput(
            suite=self.weighing(suite),
            candidate=believed(candidate),
            champion=None if current is None else self._seated(current, own),
            policy=self.policy,
            siblings=tuple(map(self._believed, siblings)),
            history=tuple(
                self._seated(seat, own)
                for seat in self.reign.former
                if seat.evaluation_id != own.evaluation_id
            ),
        )

    def has_rival_siblings_in(self, run: RunRow) -> bool:
        """Whether the run is a sibling of a champion, past or present."""
        seats = (*self.reign.former, *filter(None, [self.reign.current]))
        return any(seat.recipe == run.recipe and seat.run != run.key for seat in seats)

    def _seated(self, seat: Seed, own: Seed) -> Champion:
        champion = self.champions[seat.evaluation_id]
        siblings = () if seat.evaluation_id == own.evaluation_id else self.seeds.beside(seat, without=own.run)
        return Champion(
            evaluation=believed(champion.evaluation),
            suite=self.weighing(champion.suite),
            siblings=tuple(map(self._believed, siblings)),
        )

    def _believed(self, sibling: Sibling) -> Sibling:
        return Sibling(evaluation=believed(sibling.evaluation), suite=self.weighing(sibling.suite))

    def record_of(self, candidate: Evaluation, inputs: AssessmentInput) -> Inputs:
        """What is written down so that the verdict can be computed again."""
        champion = inputs.champion
        return Inputs(
            suite_version=inputs.suite.version,
            weights=self.weights.shares or {},
            seeded=candidate.seeded,
            split_seeded=candidate.split_seeded,
            policy_version=self.policy.version,
            baseline_version=self.pointer.version,
            baseline_evaluation_id=self.pointer.evaluation_id,
            baseline_suite_version=None if champion is None else champion.suite.version,
            siblings=_posted(inputs.siblings),
            baseline_siblings=() if champion is None else _posted(champion.siblings),
            history=tuple(
                Reigned(champion=_posted([former])[0], siblings=_posted(former.siblings))
                for former in inputs.history
            ),
        )


def convene(
    session: Session,
    pointer: BaselineRow,
    *,
    runs: Iterable[RunRow],
    policy: Policy | None = None,
    frozen: FrozenWeights | None = None,
    known: Mapping[int, Suite] | None = None,
) -> Court:
    """Load champions, siblings, weights and the newest policy, after the pointer's lock: they are of one moment.

    Args:
        runs: Those whose evaluations are to be judged.
        policy: Another one than the newest, to preview it.
        frozen: The weights, where they have just been read.
        known: Versions of the suite that are at hand.
    """
    project_id, suite_id = pointer.project_id, pointer.suite_id
    reign = reign_of(session, pointer)
    seats = [*reign.former, *filter(None, [reign.current])]
    loaded = evaluations.load(session, project_id=project_id, ids=[seat.evaluation_id for seat in seats])
    known = dict(known or {})
    known |= suites_at(
        session,
        project_id=project_id,
        suite_id=suite_id,
        versions={seat.suite_version for seat in seats} - known.keys(),
    )
    recipes = reign.recipes.union(run.recipe for run in runs)
    return Court(
        project_id=project_id,
        pointer=pointer,
        reign=reign,
        champions={
            seat.evaluation_id: Champion(
                evaluation=loaded[seat.evaluation_id], suite=known[seat.suite_version]
            )
            for seat in seats
        },
        seeds=open_book(session, pointer, recipes, known=known, champions=loaded),
        weights=frozen or weights.current(session, project_id=project_id, suite_id=suite_id),
        policy=policy or policies.newest(session, project_id),
    )


def assessment_input(
    session: Session, project_id: UUID, evaluation_id: UUID, *, policy: Policy | None = None
) -> AssessmentInput:
    """What the evaluation's verdict would be computed from now, locking nothing.

    Args:
        policy: A draft to preview; None for the newest version.

    Raises:
        NotFound: The project has no such evaluation.
    """
    row = evaluations.by_id(session, project_id=project_id, evaluation_id=evaluation_id)
    run = None if row is None else runs_table.by_id(session, row.run_id)
    if row is None or run is None:
        raise NotFound(f"no evaluation {evaluation_id} in this project")
    pointer = baselines.current(session, project_id=project_id, suite_id=row.suite_id, stage=row.stage)
    candidate = evaluations.load(session, project_id=project_id, ids=[evaluation_id])[evaluation_id]
    suite = suites.load_suite(session, project_id, row.suite_id, row.suite_version)
    return convene(session, pointer, runs=[run], policy=policy).input_for(candidate, suite, run)


def recorded_input(session: Session, row: AssessmentRow) -> AssessmentInput:
    """What a stored verdict was computed from; nothing of it ever changes."""
    posted = evaluations.by_id(session, project_id=row.project_id, evaluation_id=row.evaluation_id)
    if posted is None:
        raise LookupError(f"evaluation {row.evaluation_id} is not there")
    recorded = row.inputs
    several = [*recorded.siblings, *recorded.baseline_siblings]
    for each in recorded.history:
        several += [each.champion, *each.siblings]
    ids = [posted.id, *filter(None, [recorded.baseline_evaluation_id])]
    loaded = evaluations.load(
        session, project_id=row.project_id, ids=[*ids, *(each.evaluation_id for each in several)]
    )
    candidate = replace(loaded[posted.id], seeded=recorded.seeded, split_seeded=recorded.split_seeded)
    versions = [recorded.suite_version, *(each.suite_version for each in several)]
    versions += [recorded.baseline_suite_version] if recorded.baseline_suite_version is not None else []
    known = {
        version: replace(suite, frozen_weights=recorded.weights)
        for version, suite in suites_at(
            session, project_id=row.project_id, suite_id=posted.suite_id, versions=versions
        ).items()
    }

    def seated(champion: Posted, siblings: Iterable[Posted]) -> Champion:
        return Champion(
            evaluation=believed(loaded[champion.evaluation_id]),
            suite=known[champion.suite_version],
            siblings=beside(siblings),
        )

    def beside(siblings: Iterable[Posted]) -> tuple[Sibling, ...]:
        return tuple(
            Sibling(evaluation=believed(loaded[each.evaluation_id]), suite=known[each.suite_version])
            for each in siblings
        )

    champion = None
    if recorded.baseline_evaluation_id is not None and recorded.baseline_suite_version is not None:
        seat = Posted(
            evaluation_id=recorded.baseline_evaluation_id, suite_version=recorded.baseline_suite_version
        )
        champion = seated(seat, recorded.baseline_siblings)
    return AssessmentInput(
        suite=known[recorded.suite_version],
        candidate=believed(candidate),
        champion=champion,
        policy=policies.at(session, row.project_id, recorded.policy_version),
        siblings=beside(recorded.siblings),
        history=tuple(seated(each.champion, each.siblings) for each in recorded.history),
    )


def recompute(session: Session, row: AssessmentRow) -> Verdict:
    """The verdict of a stored assessment, computed again; equal to `db.assessments.load_verdict`."""
    return assess(recorded_input(session, row))


def believed(evaluation: Evaluation) -> Evaluation:
    """The evaluation as if nobody had doubted it."""
    return replace(evaluation, validity=Validity.VALID, run_validity=Validity.VALID)


def board_cells(suite: Suite, candidate: Evaluation, digests: CellDigests | None = None) -> list[BoardCell]:
    """Every cell that a leaderboard can rank, sorted by metric and group so that writers never deadlock.

    Args:
        digests: Of the suite version, where they are at hand.
    """
    known = digests or CellDigests(suite)
    metrics: dict[str, Metric] = {metric.name: metric for metric in suite.metrics}
    cells = []
    for value in board_values(suite, candidate):
        name, group, number, bound = value.metric, value.group, value.value, value.bound
        if (digest := known.of(name, group)) is not None:
            place = sort_position(metrics[name], number, bound)
            cells.append(BoardCell(name, group, digest, number, bound.value, value.n, *place))
    # A metric and a group have one cell, so that nothing behind these two is ever compared.
    return sorted(cells)


def suites_at(
    session: Session, *, project_id: UUID, suite_id: UUID, versions: Iterable[int]
) -> dict[int, Suite]:
    """Those versions of a suite."""
    return {
        version: suites.load_suite(session, project_id, suite_id, version)
        for version in sorted(set(versions))
    }


def _posted(several: Iterable[Champion | Sibling]) -> tuple[Posted, ...]:
    return tuple(
        Posted(evaluation_id=UUID(each.evaluation.id), suite_version=each.suite.version) for each in several
    )
