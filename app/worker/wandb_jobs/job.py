"""What one job brings to one W&B run, and its form on the way to the child process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias
from uuid import UUID

from app.worker.wandb_jobs.values import (
    LONGEST_TEXT,
    LONGEST_TITLE,
    MOST_ROWS,
    Cell,
    Kind,
    columns_of,
    finite,
    printable,
    strict,
)

AlertLevel: TypeAlias = Literal["INFO", "WARN", "ERROR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, logged anew as a whole each time.

    Args:
        kinds: Of the columns, in their order; the cells of a column are of its kind or None.
        total: How many rows there were before they were cut.
    """

    name: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """One bar for each label; a value of None is a gap."""

    name: str
    title: str
    label: str
    value: str
    bars: tuple[tuple[str, float | None], ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Several lines over the same points.

    Args:
        ys: By the name of the line; each as long as `xs`.
    """

    name: str
    title: str
    x: str
    xs: tuple[float, ...]
    ys: Mapping[str, tuple[float | None, ...]]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often values occur; W&B makes the bins."""

    name: str
    title: str
    value: str
    values: tuple[float, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image, as it is.

    Args:
        digest: SHA-256 of the data, in hexadecimal digits.
        extension: png or jpg.
        source: The run and the image in our database, from where the data is fetched when the job is run.
        data: Travels as a file beside the job, not in it; empty in the child.
    """

    name: str
    caption: str
    digest: str
    extension: str
    source: tuple[UUID, UUID] | None = field(default=None, compare=False)
    data: bytes = field(default=b"", repr=False, compare=False)

    @property
    def file_name(self) -> str:
        return f"{self.digest}.{self.extension}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What W&B is to tell people; the same title, text and level are told once in the life of a W&B run."""

    title: str
    text: str
    level: AlertLevel

    @property
    def mark(self) -> str:
        """What the run's summary remembers it by."""
        return hashlib.sha256(f"{self.level}\n{self.title}\n{self.text}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One snapshot for one W&B run; sending it twice is sending it once.

    Args:
        run_id: As `values.run_id` gives it.
        rev: Grows with when the content of the run was read; an older one is never written over a newer.
        group: The W&B group, which for an evaluation is the training run's name.
        scalars: Values of the summary, and of the history's row.
    """

    run_id: str
    rev: int
    name: str
    job_type: str
    group: str = ""
    tags: tuple[str, ...] = ()
    config: Mapping[str, Cell] = field(default_factory=dict)
    scalars: Mapping[str, Cell] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    bars: tuple[Bars, ...] = ()
    lines: tuple[Lines, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    pictures: tuple[Picture, ...] = ()
    alerts: tuple[Alert, ...] = ()

    @property
    def digest(self) -> str:
        """Of everything but the alerts, which are remembered one by one."""
        said = {key: value for key, value in to_document(self).items() if key != "alerts"}
        return hashlib.sha256(json.dumps(said, sort_keys=True, allow_nan=False).encode()).hexdigest()[:32]


def table(name: str, kinds: Mapping[str, Kind], rows: Sequence[Sequence[object]]) -> Table:
    """A table of clean cells, cut at `MOST_ROWS` rows.

    Raises:
        ValueError: A row is not as wide as there are columns.
    """
    columns = columns_of(kinds, rows)
    return Table(
        name=name,
        columns=tuple(kinds),
        kinds=tuple(kind for kind, _ in columns),
        rows=tuple(zip(*(cells for _, cells in columns), strict=True)),
        total=len(rows),
    )


def bars(name: str, title: str, label: str, value: str, pairs: Iterable[tuple[str, object]]) -> Bars:
    every = [(printable(each, LONGEST_TITLE), finite(amount)) for each, amount in pairs]
    return Bars(
        name=name, title=title, label=label, value=value, bars=tuple(every[:MOST_ROWS]), total=len(every)
    )


def lines(name: str, title: str, x: str, xs: Sequence[float], ys: Mapping[str, Sequence[object]]) -> Lines:
    """Lines over the same points, cut at `MOST_ROWS` points; what is not finite is a gap.

    Raises:
        ValueError: A line is not as long as `xs`.
    """
    for key, values in ys.items():
        if len(values) != len(xs):
            raise ValueError(f"{key!r} has {len(values)} points for {len(xs)}")
    return Lines(
        name=name,
        title=title,
        x=x,
        xs=tuple(float(each) for each in xs[:MOST_ROWS]),
        ys={key: tuple(finite(each) for each in values[:MOST_ROWS]) for key, values in ys.items()},
        total=len(xs),
    )


def histogram(name: str, title: str, value: str, values: Sequence[object]) -> Histogram:
    """A histogram of the finite values, of the first `MOST_ROWS`; `total` counts all of them."""
    points = [point for each in values if (point := finite(each)) is not None]
    return Histogram(name=name, title=title, value=value, values=tuple(points[:MOST_ROWS]), total=len(values))


def alert(title: str, text: str, level: AlertLevel) -> Alert:
    """An alert of a length that W&B shows."""
    return Alert(title=printable(title, LONGEST_TITLE), text=printable(text, LONGEST_TEXT), level=level)


def scalars(values: Mapping[str, object]) -> dict[str, Cell]:
    return {key: strict(value) for key, value in values.items()}


def to_document(job: Job) -> dict[str, Any]:
    """As JSON, without anything that is not strict, and without the data of pictures."""
    document = asdict(job)
    for picture in document["pictures"]:
        del picture["data"], picture["source"]
    document["config"], document["scalars"] = dict(job.config), dict(job.scalars)
    return document


def from_document(document: Mapping[str, Any]) -> Job:
    """The job again.

    Raises:
        KeyError, TypeError, ValueError: It is not what `to_document` made.
    """
    parts = dict(document)
    parts["tags"] = tuple(parts["tags"])
    parts["tables"] = tuple(
        Table(
            name=each["name"],
            columns=tuple(each["columns"]),
            kinds=tuple(Kind(kind) for kind in each["kinds"]),
            rows=tuple(tuple(row) for row in each["rows"]),
            total=each["total"],
        )
        for each in parts["tables"]
    )
    parts["bars"] = tuple(
        Bars(**{**each, "bars": tuple((label, value) for label, value in each["bars"])})
        for each in parts["bars"]
    )
    parts["lines"] = tuple(
        Lines(**{**each, "xs": tuple(each["xs"]), "ys": {key: tuple(ys) for key, ys in each["ys"].items()}})
        for each in parts["lines"]
    )
    parts["histograms"] = tuple(
        Histogram(**{**each, "values": tuple(each["values"])}) for each in parts["histograms"]
    )
    parts["pictures"] = tuple(Picture(**each) for each in parts["pictures"])
    parts["alerts"] = tuple(Alert(**each) for each in parts["alerts"])
    return Job(**parts)
