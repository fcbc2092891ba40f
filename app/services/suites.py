"""Suites: created by whoever reports first, changed by maintainers, in versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from app.db import Session, audit
from app.db import suites as db
from app.db.suites import SuiteRow
from app.domain.access import Action, Actor, require
from app.domain.evaluations import OVERALL
from app.domain.suites import suite_from_document, suite_to_document
from app.errors import NotFound
from app.services.documents import checked_key, storable
from app.services.projects import project_for


def put_suite(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    suite_key: str,
    document: Mapping[str, Any],
    now: datetime,
    new_id: Callable[[], UUID],
) -> SuiteRow:
    """Create the suite or add a version; a document that says what the newest version says adds none.

    Raises:
        InvalidInput: The document's fields that are wrong, by dotted path.
        Forbidden: A change by somebody who may only create.
    """
    project = project_for(session, actor, key=project_key, action=Action.SUITE_CREATE)
    wanted = _canonical(suite_key, document)
    known = db.newest(session, project_id=project.id, key=suite_key)
    if known is None and _create(session, actor, project.id, suite_key, wanted, now, new_id):
        return _newest(session, project.id, suite_key)
    db.lock(session, project_id=project.id, key=suite_key)
    known = _newest(session, project.id, suite_key)
    if known.document == wanted:
        return known
    require(actor, Action.SUITE_CHANGE, project=project.id)
    db.insert_version(
        session,
        project_id=project.id,
        suite_id=known.id,
        version=known.version + 1,
        document=wanted,
        now=now,
        created_by=actor.name,
    )
    changed = sorted(key for key in wanted if wanted[key] != known.document.get(key))
    detail = {"version": known.version + 1, "changed": changed}
    _audit(session, actor, Action.SUITE_CHANGE, project.id, suite_key, detail, now)
    return _newest(session, project.id, suite_key)


def create_from_post(
    session: Session,
    actor: Actor,
    *,
    project_id: UUID,
    run_id: UUID,
    suite_key: str,
    metrics: Mapping[str, Any] | None,
    groups: Iterable[Mapping[str, Any] | str] | None,
    metric_names: Iterable[str],
    group_names: Iterable[str],
    about: Mapping[str, str],
    now: datetime,
    new_id: Callable[[], UUID],
) -> SuiteRow:
    """The suite that a first evaluation brings with it; if somebody else's came first, theirs.

    Args:
        metrics: What the request says of its metrics, by name.
        groups: What it says of its groups; None or empty: those it has values for, without tier or weight.
        metric_names: The metrics that the request has numbers for; those not in `metrics` must be well known.
        group_names: The groups it has values for.
        about: dataset, dataset_version, split, protocol, as far as the request says.

    Raises:
        InvalidInput: Nothing says which direction of a metric is better; the field is `metrics.<name>`.
        Forbidden: A run token makes no suites.
    """
    require(actor, Action.SUITE_CREATE, project=project_id, run=run_id)
    specs = dict(metrics or {})
    for name in metric_names:
        specs.setdefault(name, None)
    named: list[Mapping[str, Any] | str] = list(groups or ())
    if not named:
        named = [name for name in dict.fromkeys(group_names) if name != OVERALL]
    document = {
        **about,
        "groups": named,
        "metrics": specs,
    }
    wanted = _canonical(suite_key, document)
    _create(session, actor, project_id, suite_key, wanted, now, new_id)
    return _newest(session, project_id, suite_key)


def show_suite(session: Session, actor: Actor, *, project_key: str, suite_key: str) -> SuiteRow:
    """The newest version."""
    project = project_for(session, actor, key=project_key, action=Action.PROJECT_READ)
    is_key = suite_key.isascii() and suite_key.isprintable()
    found = db.newest(session, project_id=project.id, key=suite_key) if is_key else None
    if found is None:
        raise NotFound(
            f"no suite {suite_key[:128]!r} in project {project.key}; its first evaluation creates it"
        )
    return found


def list_suites(
    session: Session, actor: Actor, *, project_key: str, limit: int, after: str | None = None
) -> list[SuiteRow]:
    """The newest versions by key; `after` is the last key of the page before."""
    project = project_for(session, actor, key=project_key, action=Action.PROJECT_READ)
    return db.page(session, project_id=project.id, limit=limit, after=after)


def _canonical(suite_key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    checked_key(suite_key, field="suite")
    suite = suite_from_document(suite_key, 0, storable(document), {})
    return storable(suite_to_document(suite))


def _create(
    session: Session,
    actor: Actor,
    project_id: UUID,
    suite_key: str,
    document: Mapping[str, Any],
    now: datetime,
    new_id: Callable[[], UUID],
) -> bool:
    """Whether version 1 was made here; False when somebody else has just made it."""
    suite_id = new_id()
    if not db.insert_suite(session, project_id=project_id, suite_id=suite_id, key=suite_key, now=now):
        return False
    db.insert_version(
        session,
        project_id=project_id,
        suite_id=suite_id,
        version=1,
        document=document,
        now=now,
        created_by=actor.name,
    )
    _audit(session, actor, Action.SUITE_CREATE, project_id, suite_key, {"version": 1}, now)
    return True


def _newest(session: Session, project_id: UUID, suite_key: str) -> SuiteRow:
    found = db.newest(session, project_id=project_id, key=suite_key)
    if found is None:
        raise LookupError(f"suite {suite_key} has just been stored and is not there")
    return found


def _audit(
    session: Session,
    actor: Actor,
    action: Action,
    project_id: UUID,
    suite_key: str,
    detail: Mapping[str, Any],
    now: datetime,
) -> None:
    audit.write(
        session,
        project_id=project_id,
        actor=actor.name,
        action=action,
        subject=f"suite {suite_key}",
        detail=detail,
        now=now,
    )
