"""The run `training-summary-<run>`: what a training was, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from app.domain.alerts import AlertDraft
from app.domain.outcomes import Json
from app.domain.stages import Stage
from app.worker.wandb_jobs.evaluation_content import alert_of
from app.worker.wandb_jobs.image_content import Gallery, pictures
from app.worker.wandb_jobs.job import Job, table
from app.worker.wandb_jobs.values import Cell, Kind, run_id, strict

_STAGES: Mapping[str, Kind] = {
    "Stage": Kind.TEXT,
    "Final Loss": Kind.NUMBER,
    "Best Loss": Kind.NUMBER,
    "Total Epochs": Kind.NUMBER,
    "Time (min)": Kind.NUMBER,
}
_CONFIGURATION: Mapping[str, Kind] = {"Parameter": Kind.TEXT, "Value": Kind.TEXT}


def training_job(
    *,
    run: str,
    run_name: str,
    wandb_group: str,
    stages: Sequence[Stage],
    configuration: Mapping[str, Json],
    page: str,
    rev: int,
    tags: Sequence[str] = (),
    alerts: Sequence[AlertDraft] = (),
    gallery: Gallery | None = None,
) -> Job:
    """The stages side by side, the configuration, one parameter a row, and the latest images.

    Args:
        run: What our run is known by, the same for ever.
        wandb_group: That of the training's own W&B run.
        page: Address of the run's page.
        alerts: What people are to be told of the training; W&B tells each once.
    """
    compared = table("training_summary/stage_comparison", _STAGES, [_stage(each) for each in stages])
    configured = table(
        "training_summary/configuration",
        _CONFIGURATION,
        [(name, _as_text(value)) for name, value in _flat(configuration)],
    )
    spent = [stage.seconds for stage in stages if stage.seconds is not None]
    scalars: dict[str, Cell] = {
        "training_summary/stages": compared.total,
        "training_summary/parameters": configured.total,
        "training_summary/minutes": strict(sum(spent) / 60.0) if spent else None,
        "training_summary/final_loss": strict(stages[-1].final_loss) if stages else None,
    }
    if gallery is not None:
        scalars.update(gallery.scalars)
    return Job(
        run_id=run_id("training-summary", run),
        rev=rev,
        name=f"training-summary-{run_name}",
        job_type="summary",
        group=wandb_group,
        tags=("training-summary", *tags),
        config={"source": page, "run": run_name},
        # What was not recorded has no key: an empty one would read as a value.
        scalars={key: value for key, value in scalars.items() if value is not None},
        tables=(compared, configured),
        pictures=() if gallery is None else pictures(gallery.shown),
        alerts=tuple(alert_of(draft, page) for draft in alerts),
    )


def _stage(stage: Stage) -> tuple[object, ...]:
    minutes = None if stage.seconds is None else stage.seconds / 60.0
    return (stage.name, stage.final_loss, stage.best_loss, stage.epochs, minutes)


def _flat(configuration: Mapping[str, Json], above: str = "") -> list[tuple[str, Json]]:
    """`optimizer/lr`, in the order of the names."""
    found: list[tuple[str, Json]] = []
    for key in sorted(configuration):
        value = configuration[key]
        if isinstance(value, dict) and value:
            found += _flat(value, f"{above}{key}/")
        else:
            found.append((f"{above}{key}", value))
    return found


def _as_text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(strict(value))
    return json.dumps(value, ensure_ascii=False)
