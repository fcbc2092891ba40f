"""What requests carry. Unknown fields are refused: a misspelt one would otherwise be lost in silence."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.api.numbers import Count, Name, Number, Reason, Whole
from app.domain.retention import LONGEST_DAYS, Retention
from app.domain.sinks import SinkKind
from app.services.posted import MAX_VALUES
from app.services.sinks import MAX_SINKS

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
Text = Annotated[str, Field(max_length=10_000)]
Document = dict[str, Any]


def _example(example: Document) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"example": example})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewProject(_Body):
    model_config = _example({"key": "heights", "name": "Height prediction"})

    key: Key
    name: Annotated[str, Field(max_length=256)] = ""


class NewToken(_Body):
    model_config = _example({"project": "heights", "role": "reporter", "label": "nightly job"})

    project: Key | None = None
    role: Literal["viewer", "reporter", "maintainer", "admin", "run"]
    label: Annotated[str, Field(max_length=256)] = ""
    expires_at: datetime | None = None
    run: UUID | None = None


class OpenRunBody(_Body):
    model_config = _example(
        {
            "attempt_id": "01998f6e-3d6c-7b5e-8f4d-1a2b3c4d5e6f",
            "role": "train",
            "name": "unet-64",
            "config": {"lr": 0.001, "width": 64},
            "seed": 42,
            "tags": ["baseline"],
        }
    )

    attempt_id: UUID
    role: Literal["train", "attach"] = "train"
    name: Annotated[str, Field(max_length=256)] | None = None
    config: Document | None = None
    run_group: Name | None = None
    tags: Annotated[list[Name], Field(max_length=100)] = []
    notes: Text | None = None
    seed: Whole | None = None
    split_seeded: Annotated[bool, Field(strict=True)] | None = None
    git_commit: Annotated[str, Field(max_length=256)] | None = None
    environment: Document | None = None
    resume_step: Whole | None = None


class EditRunBody(_Body):
    model_config = _example({"tags": ["width-sweep", "checked"], "notes": "second data release"})

    name: Annotated[str, Field(max_length=256)] | None = None
    tags: Annotated[list[Name], Field(max_length=100)] | None = None
    notes: Text | None = None
    status: Literal["running", "finished", "failed", "preempted"] | None = None


class StopRunBody(_Body):
    model_config = _example({"stop": True})

    stop: Annotated[bool, Field(strict=True)] = True


class Verification(_Body):
    """Why something is believed no longer, or again."""

    model_config = _example({"reason": "noisy copies of validation rows in the training set"})

    reason: Reason


class Invalidation(Verification):
    suspect: Annotated[
        bool, Field(strict=True, description="Mark as suspect instead: shown, closes nothing.")
    ] = False


class GroupBody(_Body):
    name: Name
    tier: Name | None = None
    weight: Number | None = None
    definition: Text | None = None
    label: Text | None = None


class SuiteBody(_Body):
    model_config = _example(
        {
            "dataset": "heights",
            "dataset_version": "3",
            "split": "val",
            "groups": [{"name": "k=4,m=2", "tier": "easy"}, {"name": "k=6,m=3", "tier": "hard"}],
            "metrics": {"log2_mse": "lower"},
        }
    )

    dataset: Text = ""
    dataset_version: Text = ""
    split: Text = ""
    protocol: Text = ""
    groups: Annotated[list[GroupBody | Name], Field(max_length=5000)] = []
    metrics: Annotated[dict[Name, str | Document], Field(min_length=1, max_length=5000)]


class ValueBody(_Body):
    metric: Name
    group: Name = "overall"
    value: Number
    n: Count | None = None
    stderr: Number | None = None
    bound: Literal["exact", "at_least", "at_most"] = "exact"


class StatedBody(_Body):
    n: Count | None = None
    overall: Annotated[dict[Name, Number], Field(max_length=5000)] = {}


class LossBody(_Body):
    train: Number | None = None
    val: Number | None = None
    total: Number | None = None
    parts: Annotated[dict[Name, Number], Field(max_length=1000)] = {}
    weights: Annotated[dict[Name, Number], Field(max_length=1000)] = {}


class PostEvaluation(_Body):
    model_config = _example(
        {
            "suite": "heights-val",
            "stage": "final",
            "step": 1200,
            "purpose": "candidate",
            "metrics": {"log2_mse": "lower"},
            "values": [
                {"metric": "log2_mse", "group": "k=4,m=2", "value": 0.405, "n": 1800},
                {"metric": "log2_mse", "group": "k=6,m=3", "value": 0.168, "n": 91800},
            ],
            "stated": {"n": 93600, "overall": {"log2_mse": 0.1726}},
            "loss": {"train": 0.177264, "val": 0.181483},
        }
    )

    suite: Key
    stage: Name = "final"
    step: Count | None = None
    attempt_id: UUID | None = None
    purpose: Literal["candidate", "progress"] = "candidate"
    values: Annotated[list[ValueBody], Field(max_length=MAX_VALUES)] = []
    stated: StatedBody = StatedBody()
    loss: LossBody = LossBody()
    info: Document = {}
    metrics: Annotated[dict[Name, str | Document], Field(max_length=5000)] | None = None
    groups: Annotated[list[GroupBody | Name], Field(max_length=5000)] | None = None
    dataset: Text = ""
    dataset_version: Text = ""
    split: Text = ""
    protocol: Text = ""


class NewEvent(_Body):
    model_config = _example(
        {
            "kind": "promote",
            "stage": "final",
            "evaluation": "01998f6e-3d6c-7b5e-8f4d-1a2b3c4d5e6f",
            "expected_version": 3,
            "reason": "better in every group",
        }
    )

    kind: Literal["promote", "bootstrap", "override", "rollback"]
    stage: Name = "final"
    evaluation: UUID | None = None
    to_event: Count | None = None
    expected_version: Count
    reason: Reason | None = None


class EditAlert(_Body):
    model_config = _example(
        {"state": "muted", "until": "2026-12-01T00:00:00Z", "reason": "known, fix is training"}
    )

    state: Literal["open", "acknowledged", "muted", "resolved"]
    until: datetime | None = None
    reason: Reason | None = None


Days = Annotated[int, Field(strict=True, ge=1, le=LONGEST_DAYS)] | None


class RetentionBody(_Body):
    """In days; null keeps for ever, and what is left out is set to what is shown here as its default."""

    model_config = _example(
        {"archived_days": 90, "progress_evaluations_days": 180, "delivered_messages_days": 30}
    )

    archived_days: Annotated[Days, Field(description="Archived runs with all they posted.")] = None
    progress_evaluations_days: Annotated[
        Days, Field(description="Evaluations with purpose `progress`, since they were posted.")
    ] = None
    delivered_messages_days: Annotated[
        Days, Field(description="Messages to sinks that have arrived, since then.")
    ] = Retention().delivered_messages_days
    history_days: Annotated[
        Days, Field(description="Points and events of ended runs, since they were last heard of.")
    ] = None
    resolved_alerts_days: Annotated[Days, Field(description="Alerts, since they were resolved.")] = None


class SinkBody(_Body):
    name: Key
    kind: SinkKind
    enabled: Annotated[bool, Field(strict=True)] = True
    settings: Annotated[
        Document, Field(description="By kind; secrets only by the name of an environment variable.")
    ] = {}


class SinksBody(_Body):
    """All the sinks of the project: one that is not named is removed."""

    model_config = _example(
        {
            "sinks": [
                {"name": "log", "kind": "log"},
                {
                    "name": "wandb",
                    "kind": "wandb",
                    "settings": {"entity": "team-a", "project": "heights", "key_env": "WANDB_API_KEY"},
                },
                {
                    "name": "chat",
                    "kind": "apprise",
                    "settings": {"url_env": "TRUERUN_SECRET_CHAT", "routes": [{"levels": ["error"]}]},
                },
            ]
        }
    )

    sinks: Annotated[list[SinkBody], Field(max_length=MAX_SINKS)]


class DiscardBody(_Body):
    model_config = _example({"reason": "the receiver is gone for good"})

    reason: Reason
