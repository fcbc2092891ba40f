"""Leaderboards, in every format."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from fastapi.responses import Response

from app.api.board_answers import (
    BoardAnswer,
    BoardChampionAnswer,
    BoardItemAnswer,
    SeedBoardAnswer,
    WorstAnswer,
)
from app.api.board_tables import board_table, seed_board_table
from app.api.dependencies import ActorDep, Page, PageDep, SessionDep, a_text, a_whole, cursor_of
from app.api.formats.served import FORMATS, Format, served
from app.api.numbers import Name
from app.api.router import a_router
from app.api.seed_boards import SeedBoardQuery, seed_board
from app.api.texts import checked_text
from app.db import Session, baselines, board_details, leaderboards
from app.db.leaderboards import BoardItem, Rows
from app.db.seed_boards import BoardPlace
from app.db.suites import SuiteRow
from app.domain.aggregates import MACRO
from app.domain.comparison import worsening
from app.domain.evaluations import OVERALL
from app.domain.metrics import Metric, Pooling
from app.domain.sentences import listed
from app.domain.suites import (
    TIER_PREFIX,
    Suite,
    cell_digest,
    find_metric,
    lead_metric,
    suite_from_document,
    tiers_of,
)
from app.errors import InvalidInput
from app.services import suites

router = a_router("leaderboards")


@router.get(
    "/projects/{project}/suites/{suite}/leaderboard",
    response_model=BoardAnswer | SeedBoardAnswer,
    responses=FORMATS,
)
def show_leaderboard(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    suite: str,
    page: PageDep,
    metric: Annotated[Name | None, Query(description="Default: the suite's lead metric.")] = None,
    group: Annotated[
        Name | None,
        Query(description="A group, `overall`, `macro` or `tier:…`. Default: overall, if there is one."),
    ] = None,
    stage: Name = "final",
    tags: Annotated[list[str], Query(description="Only runs that have all of these.")] = [],  # noqa: B006
    rows: Literal["runs", "evaluations"] = "runs",
    seeds: Annotated[
        Literal["mean"] | None, Query(description="One row per recipe: mean and deviation over its seeds.")
    ] = None,
    ineligible: Annotated[
        bool, Query(description="Also invalid and archived rows, with the reason.")
    ] = False,
    format: Format = "json",  # noqa: A002  the name of the query parameter
) -> BoardAnswer | SeedBoardAnswer | Response:
    """A suite's runs, best first; bounds behind exact values, what is not finite last.

    `change` is the worsening against the champion: positive is worse, whatever the metric's direction. With
    `seeds=mean` there is one row per recipe (configuration without seed, plus commit), ordered by the mean of its
    runs' latest evaluations; `champion.basis` says whether changes are against the mean of the champion's recipe (of as
    many seeds as the policy's `min_seeds`) or against its own value. A recipe with a seed that is not finite ranks
    behind every one without.
    """
    row = suites.show_suite(session, actor, project_key=project, suite_key=suite)
    board = _Board(session, row, checked_text(stage, "stage"))
    ranked = board.metric(metric)
    where = board.group(ranked, None if group is None else checked_text(group, "group"))
    checked = [checked_text(tag, "tags") for tag in tags]
    if seeds is not None:
        if rows != "runs" or ineligible:
            field = "ineligible" if ineligible else "rows"
            raise InvalidInput(
                "a mean is over each run's latest valid evaluation; leave this out", field=field
            )
        means = board.means(ranked, where, page, checked)
        if format == "json":
            return means
        table = seed_board_table(means)
        return served([table], format, title=table.title, next_cursor=means.next_cursor)
    answer = board.answer(ranked, where, page, Rows(rows), ineligible, checked)
    if format == "json":
        return answer
    table = board_table(answer)
    return served([table], format, title=table.title, next_cursor=answer.next_cursor)


class _Board:
    """One suite's board at one stage."""

    def __init__(self, session: Session, row: SuiteRow, stage: str) -> None:
        self._session = session
        self._row = row
        self._stage = stage
        self._suite: Suite = suite_from_document(row.key, row.version, row.document, row.frozen_weights)
        self._pointer = baselines.current(session, project_id=row.project_id, suite_id=row.id, stage=stage)

    def metric(self, name: str | None) -> Metric:
        """The metric asked for, or the lead metric.

        Raises:
            InvalidInput: The suite has none of that name, or it has no direction.
        """
        found = lead_metric(self._suite) if name is None else find_metric(self._suite, name)
        if found is None or found.direction is None:
            ranked = [metric.name for metric in self._suite.metrics if metric.direction is not None]
            there = (
                f"it ranks {', '.join(ranked)}"
                if ranked
                else "none of its metrics says which direction is better"
            )
            problem = f"{name} cannot be ranked" if name is not None else "has no primary metric; say metric="
            raise InvalidInput(f"{problem}; {there}", field="metric")
        return found

    def group(self, metric: Metric, name: str | None) -> str:
        """The group asked for; by default the overall, or the macro mean where no row has an overall.

        Raises:
            InvalidInput: The suite has no such group, and no row has a number for it.
        """
        if name is not None:
            if not self._is_known(name) and not self._has_rows(metric, name):
                there = listed(
                    [OVERALL, MACRO, *self._tiers(), *(group.name for group in self._suite.groups)], 8
                )
                raise InvalidInput(
                    f"suite {self._row.key} has no group {name!r}; it has {there}", field="group"
                )
            return name
        if metric.pooling is not Pooling.NONE or self._has_rows(metric, OVERALL):
            return OVERALL
        return MACRO

    def answer(
        self, metric: Metric, group: str, page: Page, rows: Rows, ineligible: bool, tags: list[str]
    ) -> BoardAnswer:
        items = self._items(metric, group, page.limit + 1, page.after_as(*_AFTER), rows, ineligible, tags)
        shown = items[: page.limit]
        champion = self._champion(metric, group)
        return BoardAnswer(
            suite=self._row.key,
            stage=self._stage,
            metric=metric.name,
            group=group,
            direction=str(metric.direction),
            champion=champion,
            items=[_item(item, metric, champion) for item in shown],
            next_cursor=_cursor(shown[-1]) if len(items) > page.limit else None,
        )

    def means(self, metric: Metric, group: str, page: Page, tags: list[str]) -> SeedBoardAnswer:
        place = BoardPlace(
            project_id=self._row.project_id,
            suite_id=self._row.id,
            stage=self._stage,
            cell=cell_digest(self._suite, metric.name, group) or b"",
        )
        query = SeedBoardQuery(
            place=place,
            suite=self._row.key,
            metric=metric,
            group=group,
            champion=self._pointer.evaluation_id,
            tags=tags,
        )
        return seed_board(self._session, query, page)

    def _tiers(self) -> list[str]:
        return [f"{TIER_PREFIX}{tier}" for tier in tiers_of(self._suite)]

    def _is_known(self, group: str) -> bool:
        return group in (OVERALL, MACRO, *self._tiers()) or any(
            member.name == group for member in self._suite.groups
        )

    def _has_rows(self, metric: Metric, group: str) -> bool:
        return bool(self._items(metric, group, 1, None, Rows.RUNS, False, []))

    def _items(
        self,
        metric: Metric,
        group: str,
        limit: int,
        after: tuple[Any, ...] | None,
        rows: Rows,
        ineligible: bool,
        tags: list[str],
    ) -> list[BoardItem]:
        cell = cell_digest(self._suite, metric.name, group)
        if cell is None:
            return []
        return leaderboards.page(
            self._session,
            project_id=self._row.project_id,
            suite_id=self._row.id,
            stage=self._stage,
            cell=cell,
            rows=rows,
            ineligible=ineligible,
            limit=limit,
            after=None if after is None else (after[0], after[1], after[2], after[3]),
            tags=tags,
        )

    def _champion(self, metric: Metric, group: str) -> BoardChampionAnswer | None:
        if self._pointer.evaluation_id is None:
            return None
        cell = cell_digest(self._suite, metric.name, group)
        if cell is None:
            return None
        found = board_details.standing_of(
            self._session,
            project_id=self._row.project_id,
            evaluation_id=self._pointer.evaluation_id,
            cell=cell,
        )
        if found is None:
            return None
        return BoardChampionAnswer(
            evaluation=self._pointer.evaluation_id, run=found.run_key, value=found.value
        )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)


_AFTER = (a_whole, a_whole, _number, lambda value: UUID(a_text(value)))


def _cursor(item: BoardItem) -> str:
    rank, sort_class, sort_key, evaluation_id = item.after
    return cursor_of(rank, sort_class, sort_key, evaluation_id)


def _item(item: BoardItem, metric: Metric, champion: BoardChampionAnswer | None) -> BoardItemAnswer:
    return BoardItemAnswer(
        rank=item.rank,
        run=item.run_key,
        run_id=item.run_id,
        name=item.name,
        evaluation=item.evaluation_id,
        value=item.value,
        bound=item.bound,
        n=item.n,
        change=_change(metric, item, champion),
        worst=None if item.worst is None else WorstAnswer(group=item.worst[0], worsening=item.worst[1]),
        gate=item.gate,
        stale=item.stale,
        eligible=item.eligible,
        reason=item.reason,
        champion=champion is not None and champion.evaluation == item.evaluation_id,
        tags=item.tags,
        created_at=item.created_at,
    )


def _change(metric: Metric, item: BoardItem, champion: BoardChampionAnswer | None) -> float | None:
    if champion is None or champion.value is None or item.bound != "exact":
        return None
    if not (math.isfinite(champion.value) and math.isfinite(item.value)):
        return None
    return worsening(metric, champion.value, item.value)
