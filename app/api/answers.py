"""What the service answers. Non-finite numbers leave as the strings "NaN", "Infinity", "-Infinity"."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, WithJsonSchema

T = TypeVar("T")
Document = dict[str, Any]
_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}
Number = Annotated[float, WithJsonSchema(_NUMBER)]


class Answer(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")


class Listing(Answer, Generic[T]):
    items: list[T]
    next_cursor: str | None = None


class MeAnswer(Answer):
    name: str
    role: str
    project: str | None
    run: UUID | None


class TokenAnswer(Answer):
    id: UUID
    prefix: str
    role: str
    label: str
    project: str | None
    run: UUID | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewTokenAnswer(TokenAnswer):
    token: str


class ProjectAnswer(Answer):
    key: str
    name: str
    created_at: datetime
    created_by: str


class ProjectDetailsAnswer(ProjectAnswer):
    policy_version: int
    runs: int
    evaluations: int
    open_alerts: int


class AuditAnswer(Answer):
    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str | None
    policy_version: int | None
    detail: Document


class LimitsAnswer(Answer):
    """What one request may hold, and how often one token may ask; None is no limit."""

    body_bytes: int
    values_per_evaluation: int
    requests_per_second: float | None
    requests_at_once: int | None


class OpenedRunAnswer(Answer):
    run_id: UUID
    run_key: str
    project: str
    attempt: int
    run_token: str | None
    limits: LimitsAnswer
    server_time: datetime


class RunAnswer(Answer):
    run_id: UUID
    key: str
    project: str
    name: str
    run_group: str | None
    status: str
    config: Document
    tags: list[str]
    notes: str
    seed: int | None
    split_seeded: bool | None
    git_commit: str | None
    environment: Document
    attempt: int
    validity: str
    validity_reason: str | None
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    summary: Document
    stop_requested: bool
    # Of the metrics that were asked for.
    metrics: Document = {}


class SuiteAnswer(Answer):
    key: str
    version: int
    dataset: str
    dataset_version: str
    split: str
    protocol: str
    groups: list[Document]
    metrics: dict[str, Document]
    weights: dict[str, float]
    weights_from: str
    created_at: datetime
    created_by: str


class PolicyAnswer(Answer):
    version: int
    policy: Document
    warnings: list[str]
    created_at: datetime
    created_by: str


class RetentionAnswer(Answer):
    """In days; null is for ever."""

    archived_days: int | None
    progress_evaluations_days: int | None
    delivered_messages_days: int | None
    resolved_alerts_days: int | None
    history_days: int | None


class ChangedVerdictAnswer(Answer):
    evaluation: UUID
    run: str
    suite: str
    stage: str
    gate_now: str
    gate_then: str
    sentence_then: str


class PreviewAnswer(Answer):
    changed: list[ChangedVerdictAnswer]
    examined: int
    warnings: list[str]


class CheckAnswer(Answer):
    rule: str
    metric: str | None
    group: str | None
    outcome: str
    required: bool
    reason: str | None
    notes: list[str]
    baseline: Number | None
    candidate: Number | None
    worsening: Number | None
    limit: Number | None
    detail: Document
    text: str


class AggregateAnswer(Answer):
    metric: str
    name: str
    value: Number | None
    baseline: Number | None
    worsening: Number | None
    groups_used: int
    groups_total: int
    left_out: dict[str, str]
    group: str | None


class BaselineRefAnswer(Answer):
    evaluation: UUID
    run: str
    version: int


class VerdictAnswer(Answer):
    evaluation: UUID
    run_id: UUID
    run: str
    project: str
    suite: str
    suite_version: int
    stage: str
    step: int | None
    attempt: int
    purpose: str
    validity: str
    validity_reason: str | None
    gate: str
    sentence: str
    baseline: BaselineRefAnswer | None
    policy_version: int
    assessment: int
    stale: bool
    judged_cells: int
    total_cells: int
    checks: list[CheckAnswer]
    aggregates: list[AggregateAnswer]
    created_at: datetime


class ValueAnswer(Answer):
    metric: str
    group: str
    value: Number
    n: int | None
    stderr: Number | None
    bound: str


class AssessmentAnswer(Answer):
    number: int
    cause: str
    gate: str
    sentence: str
    policy_version: int
    baseline_version: int
    created_at: datetime


class EvaluationAnswer(VerdictAnswer):
    values: list[ValueAnswer]
    stated: Document
    loss: Document
    info: Document
    assessments: list[AssessmentAnswer]


class EvaluationSummaryAnswer(Answer):
    evaluation: UUID
    suite: str
    stage: str
    step: int | None
    attempt: int
    purpose: str
    gate: str
    sentence: str
    validity: str
    stale: bool
    is_latest: bool
    created_at: datetime


class ChampionAnswer(Answer):
    evaluation: UUID
    run: str
    run_id: UUID
    gate: str
    sentence: str
    created_at: datetime


class BaselineAnswer(Answer):
    suite: str
    stage: str
    version: int
    evaluation: ChampionAnswer | None


class EventAnswer(Answer):
    version: int
    kind: str
    stage: str
    evaluation: UUID | None
    run: str | None
    previous_evaluation: UUID | None
    previous_run: str | None
    to_event: int | None
    actor: str
    reason: str | None
    policy_version: int | None
    gate: str | None
    detail: Document
    created_at: datetime


class AlertAnswer(Answer):
    id: UUID
    kind: str
    level: str
    title: str
    state: str
    # None for an alert about a run's training.
    suite: str | None
    stage: str | None
    subject: str
    run: str
    run_id: UUID
    evaluation: UUID | None
    lines: list[Document]
    count: int
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    changed_by: str | None
    reason: str | None
    muted_until: datetime | None


class ImportAnswer(Answer):
    created: int
    known: int
    skipped_columns: list[str]


def listing(items: Iterable[T], next_cursor: str | None) -> Listing[T]:
    return Listing(items=list(items), next_cursor=next_cursor)
