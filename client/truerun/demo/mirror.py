"""What W&B gets of the demo: kept on this machine, unless the environment says whose key and entity to use."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Mapping
from typing import Any

from truerun.cli.exits import UsageError
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.sinks import wanted
from truerun.cli.text import LONGEST_CELL, visible

SINK = "wandb"
# Nobody's own project at W&B, should it go there.
WANDB_PROJECT = "truerun-demo"
KEY, ENTITY, BASE_URL = "WANDB_API_KEY", "WANDB_ENTITY", "WANDB_BASE_URL"
WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.2
_LISTED = 50


def enable(service: Service, project: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Mirror the project from now on; a sink of that name that is there already is left as it is.

    Only the demo's own sink changes, from offline to online, once there are a key and an entity.
    """
    path = f"/projects/{project}/sinks"
    sinks = {sink["name"]: sink for sink in service.get(path)["sinks"]}
    offline = {"name": SINK, "kind": "wandb", "settings": {"project": WANDB_PROJECT, "mode": "offline"}}
    known, online = sinks.get(SINK), _online(environ)
    if known is not None and (online is None or not _is_ours(known)):
        return
    others = [wanted(sink) for name, sink in sinks.items() if name != SINK]
    try:
        service.send(
            "PUT", path, {"sinks": [*others, {**offline, "settings": online} if online else offline]}
        )
    except UsageError as refusal:
        if online is None:
            raise
        # A server of one's own that this service may not send a key to.
        Output(as_json=False).note(f"W&B stays offline: {refusal.message}")
        service.send("PUT", path, {"sinks": [*others, offline]})


def show(service: Service, project: str, out: Output, *, wait_seconds: float = WAIT_SECONDS) -> None:
    """Wait until nothing is owed to W&B, then say which of its runs hold what, and where they are."""
    sink = _settled(service, project, wait_seconds)
    if sink is None:
        out.lines([f"Nothing of {project} is mirrored to W&B: it has no sink {SINK}."])
        return
    runs = _mirrored(service, project)
    kept = [run for run in runs if run["command"]]
    is_online = sink["settings"].get("mode") == "online"
    where = "online" if is_online else "kept on this machine, without any account"
    out.lines([f"What Weights & Biases gets of project {project}, {where}:", ""])
    if not runs:
        out.lines(["Nothing yet."])
    out.table(("W&B RUN", "HOLDS"), [row for run in runs for row in _rows(run)])
    if urls := [run["url"] for run in runs if run["url"]]:
        out.lines(["", *urls])
    if kept:
        out.lines(
            [
                "",
                "Each command brings one of them, from the directory that it ends with, to an account of yours,",
                "whenever you like; only once, since a second time repeats rows and alerts. With WANDB_API_KEY",
                "and WANDB_ENTITY set, the demo mirrors online.",
                "",
                *(visible(run["command"]) for run in kept),
            ]
        )
    _complain(sink, project, out)


def _online(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Settings of a sink that needs an account; None where the environment has none."""
    if not environ.get(KEY) or not environ.get(ENTITY):
        return None
    settings = {"project": WANDB_PROJECT, "entity": environ[ENTITY], "mode": "online"}
    # The key is that server's, and nobody else's to be told.
    return {**settings, "base_url": environ[BASE_URL]} if environ.get(BASE_URL) else settings


def _is_ours(sink: Mapping[str, Any]) -> bool:
    settings = sink["settings"]
    return (settings.get("project"), settings.get("mode")) == (WANDB_PROJECT, "offline")


def _settled(service: Service, project: str, seconds: float) -> dict[str, Any] | None:
    """The sink once nothing is owed to it, nothing can be delivered for now, or so much time has passed."""
    deadline = time.monotonic() + seconds
    while True:
        sinks: list[dict[str, Any]] = service.get(f"/projects/{project}/sinks")["sinks"]
        sink = next((each for each in sinks if each["name"] == SINK), None)
        if sink is None or not sink["owed"] or sink["paused"] or time.monotonic() > deadline:
            return sink
        time.sleep(_POLL_SECONDS)


def _mirrored(service: Service, project: str) -> list[dict[str, Any]]:
    """Each W&B run as it was mirrored last: the one before would be repeated by it."""
    query = {"state": "delivered", "sink": SINK}
    newest: dict[str, dict[str, Any]] = {}
    for delivery in service.items(f"/projects/{project}/deliveries", query, limit=_LISTED):
        for run in delivery["mirrored"]:
            newest.setdefault(run["run"], run)
    return sorted(newest.values(), key=lambda run: str(run["name"]))


def _rows(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One for each kind of content, more where they are many; the first is named."""
    lines: list[str] = []
    for kind in ("tables", "charts", "images", "alerts"):
        if names := run.get(kind):
            counted = f"{len(names)} {kind if len(names) > 1 else kind[:-1]}: {', '.join(names)}"
            lines += textwrap.wrap(counted, LONGEST_CELL, subsequent_indent="  ")
    named = [run["name"], *("" for _ in lines[1:])]
    return list(zip(named, lines or ["-"], strict=True))


def _complain(sink: Mapping[str, Any], project: str, out: Output) -> None:
    look = f"truerun deliveries list --sink {SINK} --project {project} --state"
    if sink["owed"]:
        because = sink["paused"]["because"] if sink["paused"] else sink["last_error"]
        out.lines(
            ["", visible(f"{sink['owed']} messages are still owed to W&B: {because or 'no worker has run'}.")]
        )
        out.lines([f"Look at them with: {look} owed"])
    if sink["buried"]:
        out.lines(["", visible(f"{sink['buried']} messages were given up: {sink['last_error']}.")])
        out.lines([f"Look at them with: {look} buried"])
