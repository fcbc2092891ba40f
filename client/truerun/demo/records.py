"""Runs and evaluations whose ids follow from their names: sent again, they change nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any
from uuid import UUID, uuid5

from truerun.cli.exits import NotFound, Refused
from truerun.cli.service import Service

_NAMESPACE = UUID("6e7f4a52-3c0c-5d0e-9c1e-0d8f6b1f7a11")


def lines_of(name: str, *, comments: bool = False) -> Iterator[str]:
    """The lines of a file beside this one."""
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if comments or not line.startswith("#"))


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(lines_of(name)))


def ensure_project(service: Service, key: str, name: str) -> None:
    try:
        service.send("POST", "/projects", {"key": key, "name": name})
    except Refused as refusal:
        # A demo that was interrupted half-way has made the project already.
        if "exist" not in refusal.message:
            raise


def evaluations_of(service: Service, project: str, suite: str, run: str) -> list[dict[str, Any]]:
    """What the service has of a run on a suite; [] where it has none."""
    try:
        runs = service.items(f"/projects/{project}/runs", {"key": run}, limit=1)
        return service.items(f"/runs/{runs[0]['run_id']}/evaluations", {"suite": suite}) if runs else []
    except NotFound:
        return []


def post(
    service: Service,
    project: str,
    run: str,
    *,
    suite: str,
    values: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    about: Mapping[str, Any],
    **says: Any,
) -> dict[str, Any]:
    """Open a run, post its one evaluation and finish it; returns the verdict.

    Args:
        about: What the suite is made of: dataset, split, groups.
        says: What the run says of itself: name, config, seed.
    """
    opened = service.send(
        "PUT",
        f"/projects/{project}/runs/{run}",
        {"attempt_id": str(_id(project, run, "attempt")), "role": "train", **says},
    )
    verdict = service.send(
        "PUT",
        f"/runs/{opened['run_id']}/evaluations/{_id(project, run, suite)}",
        {"suite": suite, "values": list(values), "metrics": dict(metrics), **about},
    )
    service.send("PATCH", f"/runs/{opened['run_id']}", {"status": "finished"})
    return verdict


def ensure_champion(service: Service, project: str, suite: str, evaluation: str, reason: str) -> None:
    """Make the evaluation the first champion, unless the suite has one."""
    if service.get(f"/projects/{project}/suites/{suite}/baseline")["version"] == 0:
        service.send(
            "POST",
            f"/projects/{project}/suites/{suite}/baseline/events",
            {
                "kind": "bootstrap",
                "evaluation": evaluation,
                "expected_version": 0,
                "reason": reason,
            },
        )


def _id(*names: str) -> UUID:
    return uuid5(_NAMESPACE, "/".join(names))
