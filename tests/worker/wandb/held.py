"""What the stand-in for the W&B backend holds: runs, files, artifacts, alerts."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class HeldRun:
    """One run as the server has it.

    Args:
        history: The lines of its history, by offset.
        files: Path → bytes, as far as they were uploaded.
        wanted: Paths that an upload address was given out for.
    """

    name: str
    id: str
    entity: str
    project: str
    group: str = ""
    job_type: str = ""
    display_name: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: dict[int, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    complete: bool = False
    exitcode: int | None = None
    upserts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history, parsed, in order."""
        return [json.loads(self.history[offset]) for offset in sorted(self.history)]

    def values(self) -> dict[str, Any]:
        """The config without what the client says about itself."""
        return {key: each["value"] for key, each in self.config.items() if key != "_wandb"}

    def table(self, key: str) -> dict[str, Any]:
        """The table that the summary names, out of the file that was uploaded."""
        said = self.summary[key]
        content = self.files[said["path"]]
        assert len(content) == said["size"]
        assert hashlib.sha256(content).hexdigest() == said["sha256"]
        parsed = json.loads(content, parse_constant=_refuse)
        return {"columns": parsed["columns"], "data": parsed["data"]}


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@dataclass
class Held:
    """Everything, for one stand-in."""

    runs: dict[str, HeldRun] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    suppressed: list[dict[str, Any]] = field(default_factory=list)

    def run_like(self, variables: dict[str, Any]) -> HeldRun | None:
        wanted = variables.get("name") or variables.get("id") or variables.get("runName")
        return next((run for run in self.runs.values() if wanted in (run.name, run.id)), None)

    def take_stream(self, name: str, body: dict[str, Any]) -> None:
        run = self.runs[name]
        files = body.get("files") or {}
        history = files.get("wandb-history.jsonl")
        if history:
            for number, line in enumerate(history["content"]):
                run.history[history["offset"] + number] = line
        summary = files.get("wandb-summary.json")
        if summary:
            run.summary = json.loads(summary["content"][-1])
        if body.get("complete"):
            run.complete, run.exitcode = True, body.get("exitcode")

    def take_file(self, path: str, content: bytes) -> None:
        """PUT /blobs/run/<run>/<path> or /blobs/artifact/<id>/<path>."""
        self.blobs[path] = content
        _, _, kind, owner, name = path.split("/", 4)
        if kind == "run":
            self.runs[owner].files[name] = content
        else:
            self.artifacts[owner]["files"][name] = content

    def take_alert(self, alert: dict[str, Any]) -> None:
        """W&B sends no second alert of a title within its wait; here the wait never ends."""
        sent = [(each["runName"], each["title"]) for each in self.alerts]
        (self.suppressed if (alert["runName"], alert["title"]) in sent else self.alerts).append(alert)


def md5_of(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()
