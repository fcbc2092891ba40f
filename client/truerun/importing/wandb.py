"""Runs of a project of W&B, by its public GraphQL interface; the `wandb` package is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from truerun import wire
from truerun.importing.origin import Origin
from truerun.importing.past import PastRun, Restart, Row, SourceError, Tally, flattened
from truerun.importing.wandb_steps import Steps

_STATES = {
    "finished": "finished",
    "failed": "failed",
    "crashed": "failed",
    "killed": "preempted",
    "preempted": "preempted",
    "preempting": "preempted",
}
_PAGE_RUNS = 50
# The service thins a page that holds more rows than it was asked for; within so many steps there are no more.
_PAGE_STEPS = 1000
_MOST_EVENTS = 10_000
_TABLES = ("table-file", "joined-table", "partitioned-table", "incremental-table-file")
_RUN_FIELDS = (
    "name displayName state config group jobType commit createdAt heartbeatAt notes tags "
    "systemMetrics summaryMetrics historyLineCount historyKeys fileCount user { username }"
)
_RUNS = f"""query Runs($project: String!, $entity: String!, $cursor: String, $perPage: Int, $order: String) {{
  project(name: $project, entityName: $entity) {{
    runs(after: $cursor, first: $perPage, order: $order) {{
      edges {{ node {{ {_RUN_FIELDS} }} cursor }}
      pageInfo {{ endCursor hasNextPage }}
    }}
  }}
}}"""
_RUN = f"""query Run($project: String!, $entity: String!, $name: String!) {{
  project(name: $project, entityName: $entity) {{ run(name: $name) {{ {_RUN_FIELDS} }} }}
}}"""
_HISTORY = """query HistoryPage($entity: String!, $project: String!, $run: String!, $minStep: Int64!, $maxStep: Int64!,
  $pageSize: Int!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) }
  }
}"""
_EVENTS = """query RunEvents($project: String!, $entity: String!, $name: String!, $samples: Int) {
  project(name: $project, entityName: $entity) { run(name: $name) { events(samples: $samples) } }
}"""


class WandbProject:
    """A project, or one run of it.

    Args:
        run: Its id, where only one is wanted.
        wants_system: Whether to bring metrics of the machine, as far as the service gives them: thinned.
    """

    def __init__(
        self, origin: Origin, entity: str, project: str, *, run: str | None = None, wants_system: bool = False
    ) -> None:
        self.name = "/".join(part for part in (entity, project, run) if part)
        self.tally = Tally()
        self._origin = origin
        self._scope = {"entity": entity, "project": project}
        self._only = run
        self._wants_system = wants_system

    def close(self) -> None:
        self._origin.close()

    def runs(self) -> Iterator[PastRun]:
        if self._only is not None:
            node = self._project(_RUN, name=self._only).get("run")
            if not isinstance(node, dict):
                raise SourceError(f"{self._origin.url} has no run {self.name}")
            yield self._run(node)
            return
        cursor: str | None = None
        while True:
            # By when they were made, so that a run that begins meanwhile comes last.
            page = (
                self._project(_RUNS, cursor=cursor, perPage=_PAGE_RUNS, order="+created_at").get("runs") or {}
            )
            for edge in page.get("edges") or []:
                yield self._run(edge["node"])
            info = page.get("pageInfo") or {}
            cursor = info.get("endCursor")
            if not info.get("hasNextPage") or not cursor:
                return

    def _project(self, query: str, **variables: Any) -> dict[str, Any]:
        document = {"query": query, "variables": {**self._scope, **variables}}
        answer = self._origin.post("/graphql", document)
        errors = answer.get("errors")
        if errors:
            said = errors[0].get("message") if isinstance(errors[0], dict) else errors[0]
            raise SourceError(f"{self._origin.url} refused to read {self.name}: {str(said)[:200]}")
        project = (answer.get("data") or {}).get("project")
        if not isinstance(project, dict):
            raise SourceError(f"{self._origin.url} has no project {self.name}, or shows it to others only")
        return project

    def _run(self, node: Mapping[str, Any]) -> PastRun:
        config = _object(node.get("config"))
        internal = _object(_value_of(config.get("_wandb")))
        run_id = str(node["name"])
        past = PastRun(
            identity=("wandb", self._scope["entity"], self._scope["project"], run_id),
            stamp=json.dumps(
                [node.get("state"), node.get("historyLineCount"), node.get("heartbeatAt"), self._wants_system]
            ),
            name=str(node.get("displayName") or run_id),
            status=_STATES.get(str(node.get("state")).lower()),
            config={
                key: _value_of(value)
                for key, value in config.items()
                if key not in ("_wandb", "wandb_version")
            },
            tags=[str(tag) for tag in node.get("tags") or []],
            notes=node.get("notes"),
            run_group=node.get("group"),
            git_commit=node.get("commit"),
            started_at=_seconds(node.get("createdAt")),
            ended_at=_seconds(node.get("heartbeatAt")),
            about={
                "url": self._origin.url,
                "job_type": node.get("jobType"),
                "user": (node.get("user") or {}).get("username"),
            },
            rows=lambda tally: self._rows(node, Steps(internal.get("m")), tally),
        )
        past.summary = _summary(_object(node.get("summaryMetrics")), past.tally)
        if node.get("fileCount"):
            past.tally.leave("file", int(node["fileCount"]))
        system = [name for name in _object(node.get("systemMetrics")) if not name.startswith("_")]
        if system and not self._wants_system:
            past.tally.leave("system_metric", len(system))
        return past

    def _rows(self, node: Mapping[str, Any], steps: Steps, tally: Tally) -> Iterator[Row | Restart]:
        run_id, count = str(node["name"]), 0
        started_at = _seconds(node.get("createdAt")) or 0.0
        for row in self._history(run_id, _last_step(node)):
            count += 1
            values = _numbers(row, tally)
            moment = wire.number_of(row.get("_timestamp"))
            time = started_at + (wire.number_of(row.get("_runtime")) or 0.0) if moment is None else moment
            for step, part in steps.split(int(row.get("_step") or 0), values, tally):
                yield Row(step, time, part)
        missing = int(node.get("historyLineCount") or 0) - count
        if missing > 0:
            tally.leave(
                "history_rows", missing, problem=f"run {run_id}: {missing} of its rows were not given"
            )
        if self._wants_system:
            yield from self._system(run_id, started_at, tally)

    def _history(self, run_id: str, last_step: int) -> Iterator[dict[str, Any]]:
        first, width = 0, _PAGE_STEPS
        while first <= last_step:
            until = min(first + width, last_step + 1)
            page = self._project(_HISTORY, run=run_id, minStep=first, maxStep=until, pageSize=_PAGE_STEPS)
            lines = (page.get("run") or {}).get("history") or []
            if len(lines) >= _PAGE_STEPS and until - first > _PAGE_STEPS:
                # As many rows as were asked for: it may have been thinned.
                width = max(_PAGE_STEPS, (until - first) // 4)
                continue
            yield from sorted(map(_object, lines), key=lambda row: int(row.get("_step") or 0))
            first = until
            # Steps may lie far apart; an empty stretch of a million must not take a thousand requests.
            width = width * 4 if len(lines) < _PAGE_STEPS // 10 else max(_PAGE_STEPS, width // 4)

    def _system(self, run_id: str, started_at: float, tally: Tally) -> Iterator[Row]:
        """Metrics of the machine, with the second of the run as their step."""
        page = self._project(_EVENTS, name=run_id, samples=_MOST_EVENTS)
        for line in (page.get("run") or {}).get("events") or []:
            row = _object(line)
            runtime = wire.number_of(row.get("_runtime")) or 0.0
            moment = wire.number_of(row.get("_timestamp"))
            values = {name: value for name, value in _numbers(row, tally).items() if name != "epoch"}
            yield Row(int(runtime), started_at + runtime if moment is None else moment, values)


def _numbers(row: Mapping[str, Any], tally: Tally) -> dict[str, float]:
    """The numbers of a row; what else it holds is counted."""
    found: dict[str, float] = {}
    for name, value in flattened(row):
        if name.startswith("_") or value is None:
            continue
        number = float(value) if isinstance(value, bool) else wire.number_of(value)
        if number is None:
            tally.leave(_kind(value))
        else:
            found[name] = number
    return found


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    kind = value.get("_type") if isinstance(value, dict) else None
    if kind is None:
        return "not_a_number"
    return "table" if kind in _TABLES else "histogram" if kind == "histogram" else "media"


def _summary(summary: Mapping[str, Any], tally: Tally) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, dict) and "_type" in value:
            tally.leave("summary_media")
        elif not name.startswith("_"):
            kept[name] = value
    return kept


def _last_step(node: Mapping[str, Any]) -> int:
    """The last step of the history; -1 where there is none."""
    told = (
        _object(node.get("historyKeys")).get("lastStep"),
        _object(node.get("summaryMetrics")).get("_step"),
    )
    return max((int(step) for step in told if isinstance(step, int | float)), default=-1)


def _value_of(entry: Any) -> Any:
    """A member of the configuration: W&B wraps each in an object with its description."""
    return entry["value"] if isinstance(entry, dict) and "value" in entry else entry


def _object(value: Any) -> dict[str, Any]:
    """A JSON object that travels as one, or as text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: Any) -> float | None:
    """A time of W&B, which is UTC whether it says so or not."""
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
