"""Lists of runs: filters, orders and keyset pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Subquery,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.orm import Session

from app.db.runs import RunRow
from app.db.tables import metric_series, metric_summary, run
from app.errors import InvalidInput

CONFIG_PREFIX = "config."
METRIC_NUMBERS = ("first", "last", "min", "max")
SORT_COLUMNS = ("created_at", "updated_at", "name", "key")
_NON_FINITE = ("NaN", "Infinity", "-Infinity")
_ABSENT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """What a run must be to be listed; None and empty ask for nothing.

    Args:
        tags: All of them.
        archived: None for both.
        config: Text by key; `optimizer.lr` finds that key as well as `lr` inside `optimizer`. Numbers are
            compared as numbers: `0.001` finds 1e-3.
    """

    key: str | None = None
    status: str | None = None
    tags: tuple[str, ...] = ()
    run_group: str | None = None
    validity: str | None = None
    archived: bool | None = False
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSort:
    """An order by one of SORT_COLUMNS, `config.<key>`, or a metric: `last:loss`, `min:loss`, `max:loss`, `first:loss`.

    Whichever the direction, a config key's numbers come before text, text before non-finite, and absent last.

    Args:
        group: Of a metric that is logged by group; empty for the whole.
    """

    by: str = "created_at"
    descending: bool = True
    group: str = ""

    @property
    def metric(self) -> tuple[str, str] | None:
        """(which number, of which metric), for an order by one."""
        which, colon, name = self.by.partition(":")
        return (which, name) if colon and which in METRIC_NUMBERS and name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """items, and where the next page begins (JSON; None on the last page)."""

    items: list[RunRow]
    next_after: list[Any] | None


def page(
    session: Session,
    *,
    project_id: UUID,
    where: RunFilter,
    sort: RunSort,
    limit: int,
    after: Sequence[Any] | None = None,
) -> RunPage:
    """One page of a project's runs.

    Args:
        after: `next_after` of the page before, under the same sort.

    Raises:
        InvalidInput: `after` does not belong to this sort.
    """
    number = _metric_number(project_id, sort)
    order = [*_order(sort, number), run.c.id]
    query = select(run, *(part.label(f"order_{i}") for i, part in enumerate(order)))
    if number is not None:
        query = query.select_from(run.outerjoin(number, number.c.run_id == run.c.id))
    query = query.where(run.c.project_id == project_id, *_conditions(where))
    if after is not None:
        place = tuple_(
            *(literal(value, part.type) for value, part in zip(_place(after, sort), order, strict=True))
        )
        query = query.where(tuple_(*order) < place if sort.descending else tuple_(*order) > place)
    query = query.order_by(*(part.desc() if sort.descending else part.asc() for part in order))
    rows = session.execute(query.limit(limit + 1)).all()
    width = len(run.c)
    items = [RunRow(**dict(zip(run.c.keys(), row[:width], strict=True))) for row in rows[:limit]]
    return RunPage(
        items=items, next_after=_after(rows[limit - 1][width:], sort) if len(rows) > limit else None
    )


def _conditions(where: RunFilter) -> list[ColumnElement[bool]]:
    equal = [
        column == value
        for column, value in (
            (run.c.key, where.key),
            (run.c.status, where.status),
            (run.c.run_group, where.run_group),
            (run.c.validity, where.validity),
        )
        if value is not None
    ]
    if where.tags:
        equal.append(run.c.tags.contains(list(where.tags)))
    if where.archived is not None:
        equal.append(run.c.archived_at.is_not(None) if where.archived else run.c.archived_at.is_(None))
    return equal + [_config_equals(key, value) for key, value in sorted(where.config.items())]


def _config_equals(key: str, text: str) -> ColumnElement[bool]:
    kind, value = _config_value(key)
    same = [
        and_(kind == "string", value == text),
        and_(kind == "boolean", value == text.lower()),
    ]
    try:
        number = float(text)
    except ValueError:
        return or_(*same)
    # CASE, because AND does not promise that the cast is tried on numbers only.
    return or_(*same, case((kind == "number", cast(value, Double) == number), else_=False))


def _config_value(key: str) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """The JSON type and the text of a config key; both NULL where it is absent."""
    whole = func.jsonb_extract_path(run.c.config, key, type_=JSONB)
    value = func.coalesce(
        whole, func.jsonb_extract_path(run.c.config, *key.split("."), type_=JSONB), type_=JSONB
    )
    return (
        func.jsonb_typeof(value, type_=Text),
        value.op("#>>", return_type=Text())(literal_column("'{}'::text[]")),
    )


def _metric_number(project_id: UUID, sort: RunSort) -> Subquery | None:
    """(run_id, number) of every run that has logged the metric, its attempts folded; None for another order."""
    if sort.metric is None:
        return None
    which, name = sort.metric
    columns = metric_summary.c
    newest = (columns.attempt.desc(), columns.last_step.desc(), columns.series_id)
    oldest = (columns.attempt, columns.first_step, columns.series_id)
    number = {
        "min": func.min(columns.min_value),
        "max": func.max(columns.max_value),
        "last": func.array_agg(aggregate_order_by(columns.last_value, *newest), type_=ARRAY(Double))[1],
        "first": func.array_agg(aggregate_order_by(columns.first_value, *oldest), type_=ARRAY(Double))[1],
    }[which]
    series = metric_series.c
    here = (series.project_id == columns.project_id) & (series.run_id == columns.run_id)
    return (
        select(columns.run_id, number.label("number"))
        .select_from(metric_series.join(metric_summary, here & (series.id == columns.series_id)))
        .where(series.project_id == project_id, series.name == name, series.group_name == sort.group)
        .group_by(columns.run_id)
        .subquery("logged")
    )


def _order(sort: RunSort, number: Subquery | None) -> list[ColumnElement[Any]]:
    """What the list is ordered by, all in the same direction, none of it ever NULL."""
    if number is not None:
        logged = number.c.number
        is_finite = logged.not_in([literal(float(word), Double) for word in _NON_FINITE])
        rank = case((logged.is_(None), _ABSENT), (is_finite, 0), else_=2)
        return [
            cast(-rank if sort.descending else rank, Integer),
            case((logged.is_not(None) & is_finite, logged), else_=literal(0.0, Double)),
        ]
    if not sort.by.startswith(CONFIG_PREFIX):
        column = run.c[sort.by]
        return [column.collate("C") if isinstance(column.type, Text) else column]
    kind, value = _config_value(sort.by.removeprefix(CONFIG_PREFIX))
    is_text = or_(kind == "boolean", kind == "string")
    last = case(
        (kind == "number", 0), (and_(is_text, value.not_in(_NON_FINITE)), 1), (is_text, 2), else_=_ABSENT
    )
    return [
        # Descending turns every column round, so this one is turned round once more.
        cast(-last if sort.descending else last, Integer),
        case((kind == "number", cast(value, Double)), else_=literal(0.0, Double)),
        case((is_text, value), else_=literal("", Text)).collate("C"),
    ]


def _after(place: Sequence[Any], sort: RunSort) -> list[Any]:
    values = [value.isoformat() if isinstance(value, datetime) else value for value in place[:-1]]
    return [_name(sort), *values, str(place[-1])]


def _place(after: Sequence[Any], sort: RunSort) -> list[Any]:
    kinds: tuple[Callable[[Any], Any], ...] = (_rank, _number, _text)
    if sort.metric is not None:
        kinds = (_rank, _number)
    elif not sort.by.startswith(CONFIG_PREFIX):
        kinds = (datetime.fromisoformat,) if sort.by.endswith("_at") else (_text,)
    try:
        name, *values, run_id = after
        place = [*(kind(value) for kind, value in zip(kinds, values, strict=True)), UUID(run_id)]
    except (ValueError, TypeError, AttributeError, OverflowError):
        name, place = None, []
    if name != _name(sort):
        raise InvalidInput("this cursor belongs to another list; leave it out to begin anew", field="cursor")
    return place


def _rank(value: Any) -> int:
    if type(value) is not int or abs(value) > _ABSENT:
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(value)
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str or "\0" in value:
        raise ValueError(value)
    value.encode()
    return value


def _name(sort: RunSort) -> str:
    return f"{'-' if sort.descending else ''}{sort.by}" + (f"@{sort.group}" if sort.group else "")
