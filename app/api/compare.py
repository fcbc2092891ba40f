"""Runs beside each other, in every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from app.api.compare_answers import (
    AgainstChampionAnswer,
    AggregateRowAnswer,
    CompareAnswer,
    ComparedCellAnswer,
    ComparedEvaluationAnswer,
    ComparedRowAnswer,
    ComparedRunAnswer,
    ComparedSuiteAnswer,
    DifferenceAnswer,
    EntryAnswer,
    NotSharedAnswer,
)
from app.api.compare_tables import compare_csv, compare_tables
from app.api.dependencies import ActorDep, SessionDep
from app.api.formats.served import FORMATS, Format, served
from app.api.numbers import Name
from app.api.router import a_router
from app.api.texts import checked_text
from app.db.comparisons import BesideRow
from app.db.evaluations import effective_validity
from app.db.runs import RunRow
from app.domain.aggregates import GEOMEAN, MACRO, TIER_BALANCED, WORST
from app.domain.configurations import Entry, entries, is_seed, is_volatile
from app.domain.evaluations import OVERALL, Validity
from app.domain.outcomes import Gate
from app.domain.record import aggregate_from_document
from app.domain.side_by_side import SideCell, SideRow
from app.domain.suites import TIER_PREFIX
from app.services import comparisons
from app.services.comparisons import Compared, Standing, Wish

router = a_router("runs")


@router.get("/projects/{project}/compare", response_model=CompareAnswer, responses=FORMATS)
def compare_runs(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    runs: Annotated[
        list[str],
        Query(
            description="2 to 20 runs by key or id, separated by commas, in the order of the columns.",
            examples=["run-2,run-6"],
        ),
    ],
    suite: Annotated[
        Name | None, Query(description="Default: every suite that at least two of them share.")
    ] = None,
    stage: Annotated[Name | None, Query(description="Default: every stage.")] = None,
    metric: Annotated[Name | None, Query(description="Default: every metric.")] = None,
    base: Annotated[
        Name | None,
        Query(
            description="The run to measure against. Default: the champion if it is among them, else the first."
        ),
    ] = None,
    all: Annotated[bool, Query(description="Also the keys that are the same.")] = False,  # noqa: A002
    format: Format = "json",  # noqa: A002  the names of the query's parameters
) -> CompareAnswer | Response:
    """Configuration that differs, environment, and every metric × group on the suites that runs share.

    A run stands there by its latest valid candidate evaluation. Aggregates are those stored with it. Numbers that do
    not mean the same (another dataset, definition or weights) are shown and not compared.
    """
    wish = Wish(
        runs=[checked_text(name.strip(), "runs") for part in runs for name in part.split(",")],
        suite=_checked(suite, "suite"),
        stage=_checked(stage, "stage"),
        metric=_checked(metric, "metric"),
        base=_checked(base, "base"),
    )
    found = comparisons.compare_runs(session, actor, project_key=project, wish=wish)
    answer = _answer(found, everything=all)
    if format == "json":
        return answer
    title = f"{project}: {len(found.runs)} runs beside each other"
    tables = [compare_csv(answer)] if format == "csv" else compare_tables(answer)
    return served(tables, format, title=title)


def _checked(text: str | None, field: str) -> str | None:
    return None if text is None else checked_text(text, field)


def _answer(found: Compared, *, everything: bool) -> CompareAnswer:
    keys = [run.key for run in found.runs]
    configured = entries([run.config for run in found.runs])

    def kind_of_key(key: str) -> str:
        return "volatile" if is_volatile(key, found.volatile) else "recipe"

    # Whether the code was changed stands with the commit; a seed is told apart from what else differs.
    environments = [
        {key: value for key, value in run.environment.items() if key != _DIRTY} for run in found.runs
    ]
    return CompareAnswer(
        project=found.project,
        runs=[_run(run) for run in found.runs],
        config=_difference(
            [entry for entry in configured if not is_seed(entry.key)],
            keys,
            kind_of_key,
            everything=everything,
        ),
        seeds=[_entry(entry, keys, "seed") for entry in configured if is_seed(entry.key)],
        environment=_difference(entries(environments), keys, _kind_of_fact, everything=everything),
        suites=[_suite(standing, found.runs) for standing in found.standings],
        not_shared=[
            NotSharedAnswer(suite=one.suite, stage=one.stage, run=one.run) for one in found.not_shared
        ],
    )


_DIRTY = "git_dirty"
_VERSIONS = (
    "python",
    "torch",
    "cuda",
    "cudnn",
    "numpy",
    "jax",
    "tensorflow",
    "lightning",
    "transformers",
    "truerun",
)
_HARDWARE = ("hostname", "gpu", "gpu_count", "world_size", "cpu", "cpu_count")
_KINDS = ("determinism", "recipe", "version", "hardware", "other", "volatile")


def _kind_of_fact(key: str) -> str:
    whole = key.partition(".")[0]
    if whole == "determinism":
        return whole
    return "version" if whole in _VERSIONS else "hardware" if whole in _HARDWARE else "other"


def _difference(
    found: Iterable[Entry], keys: Sequence[str], kind: Callable[[str], str], *, everything: bool
) -> DifferenceAnswer:
    different: list[EntryAnswer] = []
    same: list[EntryAnswer] = []
    for entry in found:
        (different if entry.differs else same).append(_entry(entry, keys, kind(entry.key)))
    different.sort(key=lambda entry: _KINDS.index(entry.kind))
    return DifferenceAnswer(different=different, equal=len(same), same=same if everything else None)


def _entry(entry: Entry, keys: Sequence[str], kind: str) -> EntryAnswer:
    leaves = list(zip(keys, entry.leaves, strict=True))
    return EntryAnswer(
        key=entry.key,
        kind=kind,
        values={key: leaf.value for key, leaf in leaves if leaf is not None},
        absent=[key for key, leaf in leaves if leaf is None],
    )


def _run(run: RunRow) -> ComparedRunAnswer:
    dirty = run.environment.get(_DIRTY)
    return ComparedRunAnswer(
        run=run.key,
        run_id=run.id,
        name=run.name,
        run_group=run.run_group,
        status=run.status,
        validity=run.validity,
        validity_reason=run.validity_reason,
        archived_at=run.archived_at,
        tags=run.tags,
        seed=run.seed,
        split_seeded=run.split_seeded,
        git_commit=run.git_commit,
        git_dirty=dirty if isinstance(dirty, bool) else None,
        recipe=run.recipe.hex(),
        created_at=run.created_at,
    )


def _suite(standing: Standing, runs: Sequence[RunRow]) -> ComparedSuiteAnswer:
    keys = [run.key for run in runs]
    beside = list(zip(runs, standing.evaluations, strict=True))
    return ComparedSuiteAnswer(
        suite=standing.suite,
        stage=standing.stage,
        base=keys[standing.base],
        base_because=standing.base_because,
        evaluations={run.key: _evaluation(row, run) for run, row in beside if row is not None},
        absent=[run.key for run, row in beside if row is None],
        rows=[_row(row, keys) for row in standing.rows],
        against_champion=_against_champion(standing, keys),
    )


def _evaluation(row: BesideRow, run: RunRow) -> ComparedEvaluationAnswer:
    validity, reason = effective_validity(
        (run.validity, run.validity_reason), (row.validity, row.validity_reason)
    )
    return ComparedEvaluationAnswer(
        evaluation=row.evaluation_id,
        suite_version=row.suite_version,
        attempt=row.attempt,
        step=row.step,
        gate=Gate.CLOSED.value if validity == Validity.INVALID.value else row.gate,
        sentence=row.sentence,
        stale=row.stale,
        validity=validity,
        reason=reason,
        is_latest=row.is_latest,
        champion=row.champion == row.evaluation_id,
        created_at=row.created_at,
    )


def _row(row: SideRow, keys: Sequence[str]) -> ComparedRowAnswer:
    cells = list(zip(keys, row.cells, strict=True))
    return ComparedRowAnswer(
        metric=row.metric.name,
        direction=None if row.metric.direction is None else row.metric.direction.value,
        unit=row.metric.unit,
        group=row.group,
        kind="overall"
        if row.group == OVERALL
        else "macro"
        if row.group == MACRO
        else "tier"
        if row.group.startswith(TIER_PREFIX)
        else "group",
        cells={key: _cell(cell) for key, cell in cells if cell is not None},
        absent=[key for key, cell in cells if cell is None],
    )


def _cell(cell: SideCell) -> ComparedCellAnswer:
    return ComparedCellAnswer(
        value=cell.value.value,
        bound=cell.value.bound.value,
        n=cell.value.n,
        stderr=cell.value.stderr,
        change=cell.worsening,
        reason=cell.reason,
        differing=list(cell.differing),
        mark=None if cell.mark is None else cell.mark.value,
    )


_AGAINST_CHAMPION = (TIER_BALANCED, WORST, GEOMEAN)


def _against_champion(standing: Standing, keys: Sequence[str]) -> list[AggregateRowAnswer]:
    """What the table has no row for: aggregates that only exist against a champion."""
    metrics = dict.fromkeys(row.metric.name for row in standing.rows)
    by_run: dict[str, Mapping[tuple[str, str], Any]] = {}
    for key, row in zip(keys, standing.evaluations, strict=True):
        if row is not None and row.baseline is not None:
            stored = map(aggregate_from_document, row.aggregates)
            by_run[key] = {(one.metric, one.name): one for one in stored}
    found = []
    for metric in metrics:
        for name in _AGAINST_CHAMPION:
            of_runs = {
                key: AgainstChampionAnswer(
                    value=one.value,
                    worsening=one.worsening,
                    group=one.group,
                    groups_used=one.groups_used,
                    groups_total=one.groups_total,
                )
                for key, stored in by_run.items()
                if (one := stored.get((metric, name))) is not None
            }
            if of_runs:
                found.append(AggregateRowAnswer(metric=metric, name=name, runs=of_runs))
    return found
