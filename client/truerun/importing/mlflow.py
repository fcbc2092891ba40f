"""Runs of an MLflow tracking server, by its REST interface 2.0."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from truerun import wire
from truerun.importing.origin import Origin
from truerun.importing.past import PastRun, Restart, Row, SourceError, Tally, Unavailable

_API = "/api/2.0/mlflow"
_STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "preempted"}
_PAGE_RUNS = 200
_PAGE_POINTS = 25_000
_SYSTEM = "system/"
# A store on SQL keeps ±∞ as the largest double.
_LARGEST = 1.7976931348623157e308


class MlflowServer:
    """A tracking server.

    Args:
        experiments: Names or ids of those to read; all that are active where empty.
        wants_system: Whether to bring metrics of the machine.
    """

    def __init__(
        self, origin: Origin, *, experiments: Sequence[str] = (), wants_system: bool = False
    ) -> None:
        self.name = origin.url
        self.tally = Tally()
        self._origin = origin
        self._wanted = tuple(experiments)
        self._wants_system = wants_system

    def close(self) -> None:
        self._origin.close()

    def runs(self) -> Iterator[PastRun]:
        for experiment in self._experiments():
            body = {
                "experiment_ids": [experiment["experiment_id"]],
                "max_results": _PAGE_RUNS,
                "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"],
            }
            for run in self._pages("runs", "POST", f"{_API}/runs/search", body):
                yield self._run(run, str(experiment.get("name") or experiment["experiment_id"]))

    def _experiments(self) -> list[dict[str, Any]]:
        found = list(self._pages("experiments", "POST", f"{_API}/experiments/search", {"max_results": 1000}))
        if not self._wanted:
            return sorted(found, key=lambda each: str(each.get("name")))
        chosen = []
        for wanted in self._wanted:
            fits = [each for each in found if wanted in (each.get("name"), each.get("experiment_id"))]
            if not fits:
                names = ", ".join(sorted(str(each.get("name")) for each in found)) or "none"
                raise SourceError(f"{self.name} has no active experiment {wanted!r}; there are: {names}")
            chosen += [each for each in fits if each not in chosen]
        return chosen

    def _pages(
        self, member: str, method: str, path: str, body: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            asked = {**body, "page_token": token}
            page = self._origin.post(path, asked) if method == "POST" else self._origin.get(path, asked)
            yield from page.get(member) or []
            token = page.get("next_page_token")
            if not token:
                return

    def _run(self, run: Mapping[str, Any], experiment: str) -> PastRun:
        info, data = run.get("info") or {}, run.get("data") or {}
        run_id = str(info.get("run_id") or info.get("run_uuid"))
        tags = {str(each.get("key")): str(each.get("value", "")) for each in data.get("tags") or []}
        metrics = sorted(data.get("metrics") or [], key=lambda each: str(each.get("key")))
        names = [str(each.get("key")) for each in metrics]
        past = PastRun(
            identity=("mlflow", run_id),
            stamp=json.dumps([info.get("status"), info.get("end_time"), metrics, self._wants_system]),
            name=str(info.get("run_name") or tags.get("mlflow.runName") or run_id),
            status=_STATES.get(str(info.get("status"))),
            config={str(p.get("key")): _parameter(p.get("value")) for p in data.get("params") or []},
            tags=[f"{key}={value}" for key, value in sorted(tags.items()) if not key.startswith("mlflow.")],
            notes=tags.get("mlflow.note.content"),
            run_group=_group(tags.get("mlflow.parentRunId")),
            git_commit=tags.get("mlflow.source.git.commit"),
            started_at=_seconds(info.get("start_time")),
            ended_at=_seconds(info.get("end_time")),
            about={"experiment": experiment, "url": self.name, "user": tags.get("mlflow.user")},
            rows=lambda tally: self._rows(run_id, names, tally),
        )
        datasets = (run.get("inputs") or {}).get("dataset_inputs") or []
        if datasets:
            past.tally.leave("dataset", len(datasets))
        return past

    def _rows(self, run_id: str, names: Sequence[str], tally: Tally) -> Iterator[Row | Restart]:
        """What was logged at the same moment and step as one row, in the order of the moments."""
        self._count_artifacts(run_id, tally)
        points: list[tuple[int, int, int, str, float]] = []
        for name in names:
            seen: dict[tuple[int, int], int] = {}
            for point in self._points(run_id, name):
                value = wire.number_of(point.get("value"))
                if value is None:
                    tally.leave("not_a_number")
                elif name.startswith(_SYSTEM) and not self._wants_system:
                    tally.leave("system_metric")
                else:
                    moment = (int(point.get("timestamp") or 0), int(point.get("step") or 0))
                    # The same metric twice at the same moment is two rows.
                    nth = seen[moment] = seen.get(moment, -1) + 1
                    points.append((*moment, nth, name, _unbounded(value)))
        points.sort(key=lambda each: each[:4])
        yield from _rows_of(points)

    def _points(self, run_id: str, name: str) -> Iterator[dict[str, Any]]:
        query = {"run_id": run_id, "metric_key": name, "max_results": _PAGE_POINTS}
        return self._pages("metrics", "GET", f"{_API}/metrics/get-history", query)

    def _count_artifacts(self, run_id: str, tally: Tally) -> None:
        try:
            listed = self._origin.get(f"{_API}/artifacts/list", {"run_id": run_id})
        except (SourceError, Unavailable) as error:
            # The store of files may be gone long before the numbers are.
            tally.leave("artifact", problem=f"the artifacts of run {run_id} could not be counted: {error}")
            return
        files = listed.get("files") or []
        if files:
            tally.leave("artifact", len(files))


def _rows_of(points: Sequence[tuple[int, int, int, str, float]]) -> Iterator[Row]:
    values: dict[str, float] = {}
    held: tuple[int, int, int] | None = None
    for timestamp, step, nth, name, value in points:
        if held != (timestamp, step, nth):
            if held is not None:
                yield Row(held[1], held[0] / 1000, values)
            held, values = (timestamp, step, nth), {}
        values[name] = value
    if held is not None:
        yield Row(held[1], held[0] / 1000, values)


def _unbounded(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == _LARGEST else value


def _parameter(text: Any) -> Any:
    """MLflow keeps every parameter as text; what is plainly a number or a truth is one again."""
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _group(parent: str | None) -> str | None:
    return None if parent is None else f"mlflow {parent}"


def _seconds(milliseconds: Any) -> float | None:
    try:
        return int(milliseconds) / 1000 if milliseconds else None
    except (TypeError, ValueError):
        return None
