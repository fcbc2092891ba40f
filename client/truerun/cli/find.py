"""From what a person types to the thing meant: projects, runs, evaluations."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote
from uuid import UUID

from truerun.cli.exits import NotFound, UsageError
from truerun.cli.service import Service


def project_key(given: str | None, service: Service) -> str:
    """The project named, else TRUERUN_PROJECT, else the token's, else the only one there is."""
    named = given or os.environ.get("TRUERUN_PROJECT")
    if named:
        return named
    own = service.get("/me").get("project")
    if own:
        return str(own)
    keys = [str(project.get("key")) for project in service.items("/projects", limit=10)]
    if len(keys) == 1:
        return keys[0]
    known = f"; there are {', '.join(keys)}" if keys else "; there is none yet"
    raise UsageError(f"name the project with --project or TRUERUN_PROJECT{known}")


def project_path(given: str | None, service: Service) -> str:
    return f"/projects/{segment(project_key(given, service))}"


def segment(key: str) -> str:
    """A key as one segment of a path."""
    if key in (".", ".."):
        raise UsageError(f"{key!r} is no name")
    return quote(key, safe="")


def find_run(text: str, given_project: str | None, service: Service) -> dict[str, Any]:
    """A run by its id or its key.

    Raises:
        NotFound: There is none.
    """
    if is_id(text):
        try:
            return service.get(f"/runs/{text}")
        except NotFound:
            pass
    project = project_key(given_project, service)
    items = service.items(f"/projects/{segment(project)}/runs", {"key": text}, limit=2)
    exact = [item for item in items if item.get("key") == text]
    if not exact:
        raise NotFound(
            f"project {project} has no run {text!r}; `truerun runs --project {project}` lists them"
        )
    return exact[0]


def find_evaluation(text: str, service: Service) -> dict[str, Any] | None:
    """An evaluation by its id; None when nothing of that id is one."""
    if not is_id(text):
        return None
    try:
        return service.get(f"/evaluations/{text}")
    except NotFound:
        return None


def evaluations_of_run(
    run: dict[str, Any], suite: str | None, stage: str | None, service: Service
) -> list[dict[str, Any]]:
    """The run's latest candidate evaluation on each suite and stage, as the service lists them."""
    query = {key: value for key, value in (("suite", suite), ("stage", stage)) if value is not None}
    items = service.items(f"/runs/{run['run_id']}/evaluations", query)
    newest: dict[tuple[Any, Any], dict[str, Any]] = {}
    for item in items:
        if item.get("purpose") == "candidate":
            cell = (item.get("suite"), item.get("stage"))
            if cell not in newest or _order(item) > _order(newest[cell]):
                newest[cell] = item
    return [newest[cell] for cell in sorted(newest, key=repr)]


def find_one_evaluation(
    text: str, suite: str | None, stage: str | None, given_project: str | None, service: Service
) -> dict[str, Any]:
    """The evaluation meant by an evaluation's id, or by a run and, where it has several, a suite."""
    evaluation = find_evaluation(text, service)
    if evaluation is not None:
        return evaluation
    run = find_run(text, given_project, service)
    listed = evaluations_of_run(run, suite, stage, service)
    if not listed:
        raise NotFound(f"run {run.get('key')} has no candidate evaluation{_on(suite, stage)}")
    if len(listed) > 1:
        cells = ", ".join(f"{item.get('suite')}/{item.get('stage')}" for item in listed)
        raise UsageError(
            f"run {run.get('key')} has evaluations on {cells}; name one with --suite and --stage"
        )
    return service.get(f"/evaluations/{listed[0]['evaluation']}")


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _order(item: dict[str, Any]) -> tuple[bool, int, int, str]:
    # The service's own choice first; without one (all are invalid), the newest by attempt, step and id.
    attempt, step = item.get("attempt"), item.get("step")
    return (
        item.get("is_latest") is True,
        attempt if isinstance(attempt, int) else 0,
        step if isinstance(step, int) else -1,
        str(item.get("evaluation")),
    )


def _on(suite: str | None, stage: str | None) -> str:
    return (f" on suite {suite}" if suite else "") + (f" at stage {stage}" if stage else "")
