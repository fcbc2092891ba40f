"""One evaluation on its way into the tables: judged, stored, ranked and announced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db import (
    Session,
    assessments,
    audit,
    bulk,
    evaluations,
    leaderboards,
    outbox,
    seeds,
    standing,
    weights,
)
from app.db.alerts import Newest, Subject
from app.db.assessments import Cause
from app.db.baselines import BaselineRow
from app.db.bulk import Rows
from app.db.evaluations import EvaluationRow
from app.db.runs import RunRow
from app.db.suites import SuiteRow
from app.db.weights import FrozenWeights
from app.domain.access import Action, Actor
from app.domain.assess import assess
from app.domain.evaluations import Evaluation, Purpose, Validity
from app.domain.outcomes import Gate, Verdict
from app.domain.suites import Suite, has_explicit_weights, shares_of
from app.services.alerts import Watched, causes_of, lock_subjects, settle
from app.services.announcements import evaluation_judged, leaderboard_changed
from app.services.judging import Court, board_cells, convene
from app.services.posted import CheckedPost
from app.services.siblings import move_rivals


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a candidate stands among those of its run.

    Args:
        previous: What was the run's latest; None where there was none.
        is_latest: Whether this one is now.
        seeds_version: Of its recipe's set, which moves when the latest is another.
    """

    previous: EvaluationRow | None
    is_latest: bool
    seeds_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """An evaluation as it has just been stored, so that its answer need not read it again.

    Args:
        champion: (evaluation, run key) of what it was judged against; None without a champion.
    """

    verdict: Verdict
    row: EvaluationRow
    run: RunRow
    suite_key: str
    policy_version: int
    champion: tuple[UUID, str] | None
    project_key: str
    candidate: Evaluation


def take_place(session: Session, run: RunRow, suite_id: UUID, stage: str, candidate: Evaluation) -> Place:
    """Place a candidate of the locked run; before the pointer is locked, since the seed set waits for others."""
    if candidate.purpose is not Purpose.CANDIDATE:
        return Place(previous=None, is_latest=False, seeds_version=0)
    previous = evaluations.latest_of_run(
        session, project_id=run.project_id, run_id=run.id, suite_id=suite_id, stage=stage
    )
    if previous is not None and previous.position.key() >= candidate.position.key():
        return Place(previous=previous, is_latest=False, seeds_version=0)
    version = seeds.move(
        session, project_id=run.project_id, suite_id=suite_id, stage=stage, recipe=run.recipe
    )
    return Place(previous=previous, is_latest=True, seeds_version=version)


@dataclass(frozen=True, slots=True)
class Filing:
    """One evaluation on its way into the tables; run and pointer are locked."""

    session: Session
    actor: Actor
    run: RunRow
    suite_row: SuiteRow
    post: CheckedPost
    candidate: Evaluation
    place: Place
    pointer: BaselineRow
    now: datetime

    @property
    def is_claim(self) -> bool:
        return self.candidate.purpose is Purpose.CANDIDATE

    def store(self, meanwhile: Callable[[Filed], object]) -> Filed | None:
        """It and its verdict, stored; None, with nothing written, when the id was taken this moment.

        Args:
            meanwhile: Called when everything is decided, while Postgres is still storing; must leave the session alone.
        """
        suite = self.suite_row.to_domain()
        stands = standing.current(self.session, project_id=self.run.project_id, suite_id=self.suite_row.id)
        court = convene(
            self.session,
            self.pointer,
            runs=[self.run],
            policy=stands.policy.to_domain(),
            frozen=self._freeze(suite, stands.weights),
            known={suite.version: suite},
        )
        unjudged = self._row(court)
        follows = self.place.is_latest and self.place.previous is not None
        if self.place.is_latest and self.place.previous is not None:
            # Before the new one is there: at no moment does a run have two.
            evaluations.unmark_latest(self.session, self.place.previous)
        if not evaluations.insert_evaluation(self.session, unjudged):
            return None
        if follows:
            leaderboards.follow_run(self.session, project_id=unjudged.project_id, run_id=unjudged.run_id)
        # Postgres takes as long to store as all of this does to think, so each is done while the other is at work.
        with bulk.inserting(self.session, self._ranked(unjudged, court.weighing(suite))):
            inputs = court.input_for(self.candidate, suite, self.run)
            verdict = assess(inputs)
            row = self._judged(unjudged, verdict)
            values = evaluations.value_rows(row, self.post.values)
        with bulk.inserting(self.session, values):
            checked = assessments.check_rows(
                project_id=row.project_id, evaluation_id=row.id, number=row.assessment, checks=verdict.checks
            )
        evaluations.note_verdict(self.session, row)
        assessments.insert_assessment(
            self.session,
            project_id=row.project_id,
            evaluation_id=row.id,
            number=row.assessment,
            cause=Cause.POSTED,
            verdict=verdict,
            inputs=court.record_of(self.candidate, inputs),
            now=self.now,
        )
        filed = self._filed(row, court, verdict, stands.project_key)
        with bulk.inserting(self.session, checked):
            meanwhile(filed)
        if self.is_claim:
            self._announce(row, verdict)
        self._settle_alone(court)
        self._audit(row)
        return filed

    def _filed(self, row: EvaluationRow, court: Court, verdict: Verdict, project_key: str) -> Filed:
        champion = court.reign.current
        return Filed(
            verdict=verdict,
            row=row,
            run=self.run,
            suite_key=self.suite_row.key,
            policy_version=court.policy.version,
            champion=None if champion is None else (champion.evaluation_id, champion.run),
            project_key=project_key,
            candidate=self.candidate,
        )

    def _freeze(self, suite: Suite, frozen: FrozenWeights) -> FrozenWeights:
        """The suite's weights, which this evaluation brings when it is the suite's first."""
        evaluation_id = UUID(self.candidate.id)
        if has_explicit_weights(suite) or not frozen.would_yield_to(evaluation_id):
            return frozen
        return weights.freeze_first(
            self.session,
            project_id=self.run.project_id,
            suite_id=self.suite_row.id,
            shares=shares_of(self.candidate, suite),
            evaluation_id=evaluation_id,
        )

    def _rivals_version(self, court: Court) -> int:
        """Of the champions' seed set, which a latest candidate of one of their recipes joins."""
        if self.place.is_latest and court.has_rival_siblings_in(self.run):
            return move_rivals(self.session, self.pointer)
        return court.seeds.versions[seeds.RIVALS]

    def _settle_alone(self, court: Court) -> None:
        """Spare the worker the search for siblings of a run that has none."""
        if self.place.is_latest and not court.seeds.has_others(self.run):
            seeds.note_judged(
                self.session,
                project_id=self.run.project_id,
                suite_id=self.suite_row.id,
                stage=self.post.posted.stage,
                recipe=self.run.recipe,
                version=self.place.seeds_version,
            )

    def _row(self, court: Court) -> EvaluationRow:
        """With the gate that it has while nobody has judged it."""
        return EvaluationRow(
            project_id=self.run.project_id,
            id=UUID(self.candidate.id),
            run_id=self.run.id,
            suite_id=self.suite_row.id,
            suite_version=self.suite_row.version,
            stage=self.post.posted.stage,
            attempt=self.candidate.position.attempt,
            step=self.candidate.position.step,
            purpose=self.candidate.purpose.value,
            digest=self.post.digest,
            stated=self.post.stated,
            loss=self.post.loss,
            info=self.post.info,
            validity=Validity.VALID.value,
            validity_reason=None,
            assessment=1,
            gate=Gate.CLOSED.value,
            judged_version=self.pointer.version,
            weights_version=court.weights.version,
            seeds_version=self.place.seeds_version,
            rivals_version=self._rivals_version(court),
            causes=[],
            is_latest=self.place.is_latest,
            created_at=self.now,
            created_by=self.actor.name,
        )

    def _judged(self, row: EvaluationRow, verdict: Verdict) -> EvaluationRow:
        causes = causes_of(verdict) if self.is_claim else []
        return replace(row, gate=verdict.gate.value, causes=causes)

    def _ranked(self, row: EvaluationRow, suite: Suite) -> Rows:
        """What a candidate brings to the leaderboard; nothing for what is no claim."""
        return leaderboards.board_rows(
            project_id=row.project_id,
            suite_id=row.suite_id,
            suite_version=row.suite_version,
            stage=row.stage,
            evaluation_id=row.id,
            run_id=row.run_id,
            recipe=self.run.recipe,
            is_latest=row.is_latest,
            eligible=self.candidate.is_valid,
            cells=board_cells(suite, self.candidate, self.suite_row.digests()) if self.is_claim else (),
        )

    def _announce(self, row: EvaluationRow, verdict: Verdict) -> None:
        """Let alerts follow a candidate, and owe the news to every sink."""
        watched = Watched(
            subject=Subject(
                project_id=row.project_id,
                suite_id=row.suite_id,
                stage=row.stage,
                run_id=row.run_id,
                run_group=self.run.run_group,
            ),
            suite_key=self.suite_row.key,
        )
        lock_subjects(self.session, [watched])
        settle(self.session, watched, known={row.id: verdict}, now=self.now, newest=self._newest(row))
        judged = evaluation_judged(
            evaluation_id=row.id, run_id=row.run_id, assessment=row.assessment, gate=row.gate
        )
        board = leaderboard_changed(row.suite_id, row.stage)
        outbox.write(self.session, project_id=row.project_id, messages=[judged, board], now=self.now)

    def _newest(self, row: EvaluationRow) -> Newest | None:
        """This one, where the subject is the run alone, whose latest it is; None where that has to be looked up."""
        if self.run.run_group is not None or not self.place.is_latest or not self.candidate.is_valid:
            return None
        return Newest(
            evaluation_id=row.id,
            run_id=row.run_id,
            run_key=self.run.key,
            assessment=row.assessment,
            position=row.position,
            causes=row.causes,
        )

    def _audit(self, row: EvaluationRow) -> None:
        audit.write(
            self.session,
            project_id=row.project_id,
            actor=self.actor.name,
            action=Action.EVALUATION_POST,
            subject=f"evaluation {row.id}",
            policy_version=None,
            detail={
                "run": self.run.key,
                "suite": self.suite_row.key,
                "stage": row.stage,
                "purpose": row.purpose,
                "gate": row.gate,
            },
            now=self.now,
        )
