"""From stored rows to a verdict: what a verdict is computed from, now or as it was recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from app.db import Session, baselines, evaluations, policies, suites, weights
from app.db.assessments import AssessmentRow, Inputs
from app.db.baselines import BaselineRow
from app.db.leaderboards import BoardCell
from app.db.weights import FrozenWeights
from app.domain.assess import AssessmentInput, Champion, assess, board_values
from app.domain.evaluations import Evaluation, Validity
from app.domain.metrics import Metric
from app.domain.outcomes import Verdict
from app.domain.policies import Policy
from app.domain.ranking import sort_position
from app.domain.suites import CellDigests, Suite
from app.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """What every candidate of one suite and stage is judged by, at one moment.

    Args:
        pointer: Locked by whoever stores the verdict.
        champion: On its own suite version; None when the seat is vacant.
    """

    project_id: UUID
    pointer: BaselineRow
    champion: Champion | None
    weights: FrozenWeights
    policy: Policy

    def weighing(self, suite: Suite) -> Suite:
        """The suite version with the weights of this moment."""
        return replace(suite, frozen_weights=self.weights.shares or {})

    def input_for(self, candidate: Evaluation, suite: Suite) -> AssessmentInput:
        """What the candidate's verdict follows from.

        Validity is left out: it is laid over a verdict when it is read, so that a verdict stays true when an
        evaluation is restored, and does not depend on which came first, the post or the invalidation.
        """
        champion = self.champion
        if champion is not None:
            champion = replace(
                champion, evaluation=believed(champion.evaluation), suite=self.weighing(champion.suite)
            )
        return AssessmentInput(
            suite=self.weighing(suite),
            candidate=believed(candidate),
            champion=champion,
            policy=self.policy,
        )

    def record_of(self, candidate: Evaluation, suite: Suite) -> Inputs:
        """What is written down so that the verdict can be computed again."""
        return Inputs(
            suite_version=suite.version,
            weights=self.weights.shares or {},
            seeded=candidate.seeded,
            split_seeded=candidate.split_seeded,
            policy_version=self.policy.version,
            baseline_version=self.pointer.version,
            baseline_evaluation_id=self.pointer.evaluation_id,
            baseline_suite_version=None if self.champion is None else self.champion.suite.version,
        )


def convene(
    session: Session,
    pointer: BaselineRow,
    *,
    policy: Policy | None = None,
    frozen: FrozenWeights | None = None,
) -> Court:
    """Load champion, weights and the newest policy; after the pointer's lock, so that they are of one moment.

    Args:
        policy: Another one than the newest, to preview it.
        frozen: The weights, where they have just been read.
    """
    project_id = pointer.project_id
    return Court(
        project_id=project_id,
        pointer=pointer,
        champion=_champion(session, pointer),
        weights=frozen or weights.current(session, project_id=project_id, suite_id=pointer.suite_id),
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
    if row is None:
        raise NotFound(f"no evaluation {evaluation_id} in this project")
    pointer = baselines.current(session, project_id=project_id, suite_id=row.suite_id, stage=row.stage)
    candidate = evaluations.load(session, project_id=project_id, ids=[evaluation_id])[evaluation_id]
    suite = suites.load_suite(session, project_id, row.suite_id, row.suite_version)
    return convene(session, pointer, policy=policy).input_for(candidate, suite)


def recorded_input(session: Session, row: AssessmentRow) -> AssessmentInput:
    """What a stored verdict was computed from; nothing of it ever changes."""
    posted = evaluations.by_id(session, project_id=row.project_id, evaluation_id=row.evaluation_id)
    if posted is None:
        raise LookupError(f"evaluation {row.evaluation_id} is not there")
    recorded = row.inputs
    ids = [posted.id, *filter(None, [recorded.baseline_evaluation_id])]
    loaded = evaluations.load(session, project_id=row.project_id, ids=ids)
    candidate = replace(loaded[posted.id], seeded=recorded.seeded, split_seeded=recorded.split_seeded)

    def suite_at(version: int) -> Suite:
        suite = suites.load_suite(session, row.project_id, posted.suite_id, version)
        return replace(suite, frozen_weights=recorded.weights)

    champion = None
    if recorded.baseline_evaluation_id is not None and recorded.baseline_suite_version is not None:
        champion = Champion(
            evaluation=believed(loaded[recorded.baseline_evaluation_id]),
            suite=suite_at(recorded.baseline_suite_version),
        )
    return AssessmentInput(
        suite=suite_at(recorded.suite_version),
        candidate=believed(candidate),
        champion=champion,
        policy=policies.at(session, row.project_id, recorded.policy_version),
    )


def recompute(session: Session, row: AssessmentRow) -> Verdict:
    """The verdict of a stored assessment, computed again; equal to `db.assessments.load_verdict`."""
    return assess(recorded_input(session, row))


def believed(evaluation: Evaluation) -> Evaluation:
    """The evaluation as if nobody had doubted it."""
    return replace(evaluation, validity=Validity.VALID, run_validity=Validity.VALID)


def board_cells(suite: Suite, candidate: Evaluation) -> list[BoardCell]:
    """Every cell that a leaderboard can rank, sorted by metric and group so that writers never deadlock."""
    digests = CellDigests(suite)
    metrics: dict[str, Metric] = {metric.name: metric for metric in suite.metrics}
    cells = []
    for value in board_values(suite, candidate):
        digest = digests.of(value.metric, value.group)
        if digest is None:
            continue
        sort_class, sort_key = sort_position(metrics[value.metric], value.value, value.bound)
        cells.append(
            BoardCell(
                metric=value.metric,
                group=value.group,
                cell=digest,
                value=value.value,
                bound=value.bound.value,
                n=value.n,
                sort_class=sort_class,
                sort_key=sort_key,
            )
        )
    return sorted(cells, key=lambda cell: (cell.metric, cell.group))


def suites_at(
    session: Session, *, project_id: UUID, suite_id: UUID, versions: Iterable[int]
) -> dict[int, Suite]:
    """Those versions of a suite."""
    return {
        version: suites.load_suite(session, project_id, suite_id, version)
        for version in sorted(set(versions))
    }


def _champion(session: Session, pointer: BaselineRow) -> Champion | None:
    if pointer.evaluation_id is None:
        return None
    row = evaluations.by_id(session, project_id=pointer.project_id, evaluation_id=pointer.evaluation_id)
    if row is None:
        raise LookupError(f"the champion {pointer.evaluation_id} is not there")
    loaded = evaluations.load(session, project_id=pointer.project_id, ids=[row.id])
    return Champion(
        evaluation=loaded[row.id],
        suite=suites.load_suite(session, pointer.project_id, row.suite_id, row.suite_version),
    )
