"""The handshake that makes a run known, resumes it or attaches to it, and may be sent any number of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.db import Session, audit, baselines, evaluations, policies, summaries
from app.db import runs as db
from app.db.projects import ProjectRow
from app.db.run_lists import CONFIG_PREFIX
from app.db.runs import RunRow
from app.domain.access import Action, Actor, Role, require
from app.domain.evaluations import Validity
from app.domain.liveness import Status
from app.domain.recipes import SEED_KEY, is_known, recipe_digest
from app.errors import Conflict, Forbidden, NotFound
from app.services import liveness
from app.services.documents import (
    checked_int,
    checked_key,
    checked_name,
    checked_tags,
    checked_text,
    storable,
)
from app.services.projects import ensure_project, project_for
from app.services.siblings import move_rivals_of, move_sets
from app.services.tokens import mint


class OpenRole(StrEnum):
    """Train is an attempt of the run; attach adds evaluations to a run that another process trains."""

    TRAIN = "train"
    ATTACH = "attach"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A handshake. What is None or empty says nothing: a known run keeps what it has.

    Args:
        attempt_id: One start of the training; the same id is the same attempt, however often it is sent.
        seed: Any signed 64-bit integer.
        split_seeded: Whether the train/val/test split was drawn with a seed.
        resume_step: The step that a further attempt goes on from: what earlier ones logged from there on is a branch
            that was left.
    """

    attempt_id: UUID
    role: OpenRole = OpenRole.TRAIN
    name: str | None = None
    config: Mapping[str, Any] | None = None
    run_group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    seed: int | None = None
    split_seeded: bool | None = None
    git_commit: str | None = None
    environment: Mapping[str, Any] | None = None
    resume_step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """The answer to a handshake.

    Args:
        attempt: The attempt of that attempt_id; for attach the newest one, unless the id is an attempt's.
        run_token: A secret that may append to this run; None for attach and for who came with a run token.
        created: Whether the run is new.
    """

    project_id: UUID
    run_id: UUID
    key: str
    attempt: int
    run_token: str | None
    created: bool


@dataclass(frozen=True, slots=True)
class _Handshake:
    """One call of open_run, checked."""

    session: Session
    actor: Actor
    project: ProjectRow
    key: str
    attempt_id: UUID
    # Columns of `run`, without those that the request says nothing of.
    says: Mapping[str, Any]
    resume_step: int | None
    now: datetime
    new_id: Callable[[], UUID]


def open_run(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    run_key: str,
    request: OpenRun,
    now: datetime,
    new_id: Callable[[], UUID],
) -> OpenedRun:
    """Make a run known, resume it, or attach to it.

    The run's row is locked, so attempts are numbered 1, 2, 3, … without gaps, whoever comes at once. A new
    attempt sets the run running; the newest attempt's handshake may correct what the run says of itself, an
    older one's may not.

    Raises:
        NotFound: No such project (an admin's handshake makes one), or attach to a run that does not exist.
        Forbidden: A new attempt of an existing run by somebody who is neither maintainer nor holds its token.
        Conflict: The run is archived.
    """
    checked_key(run_key, field="run_key")
    says = _checked(request)
    resume_step = (
        None if request.resume_step is None else checked_int(request.resume_step, field="resume_step")
    )
    if request.role is OpenRole.ATTACH:
        project = project_for(session, actor, key=project_key, action=Action.RUN_ATTACH, run=actor.run)
    else:
        project = ensure_project(
            session, actor, key=project_key, action=Action.RUN_ATTACH, now=now, new_id=new_id
        )
    call = _Handshake(session, actor, project, run_key, request.attempt_id, says, resume_step, now, new_id)
    return _attach(call) if request.role is OpenRole.ATTACH else _train(call)


def _train(call: _Handshake) -> OpenedRun:
    row = db.lock_by_key(call.session, project_id=call.project.id, key=call.key)
    if row is None:
        require(call.actor, Action.RUN_OPEN, project=call.project.id)
        opened = _first_attempt(call)
        if opened is not None:
            return opened
        # Somebody else has just opened it; the insert waited for them.
        row = db.lock_by_key(call.session, project_id=call.project.id, key=call.key)
        if row is None:
            raise Conflict(f"run {call.key} was removed this moment; send the request again")
    number = db.attempt_number(
        call.session, project_id=row.project_id, run_id=row.id, attempt_id=call.attempt_id
    )
    if number is None:
        return _next_attempt(call, row)
    # A known attempt: a reporter whose answer was lost asks again, so no more is needed than to open.
    known = Action.RUN_REATTACH if call.actor.role is Role.RUN else Action.RUN_OPEN
    require(call.actor, known, project=row.project_id, run=row.id)
    says = call.says if number == row.newest_attempt and row.archived_at is None else {}
    return _store(call, row, replace(row, **says), number)


def _first_attempt(call: _Handshake) -> OpenedRun | None:
    """None when the key was taken while we tried."""
    row = RunRow(
        **{
            "project_id": call.project.id,
            "id": call.new_id(),
            "key": call.key,
            "name": call.key,
            "run_group": None,
            "status": Status.RUNNING.value,
            "config": {},
            "tags": [],
            "notes": "",
            "seed": None,
            "split_seeded": None,
            "git_commit": None,
            "environment": {},
            "recipe": b"",
            "newest_attempt": 1,
            "validity": Validity.VALID.value,
            "validity_reason": None,
            "created_at": call.now,
            "created_by": call.actor.name,
            "updated_at": call.now,
            "archived_at": None,
            **call.says,
        }
    )
    row = replace(row, recipe=_recipe(call.session, row))
    if not db.insert_run(call.session, row):
        return None
    _insert_attempt(call, row)
    secret, prefix = _run_token(call, row)
    _audit(call.session, call.actor, Action.RUN_OPEN, row, call.now, {"attempt": 1, **prefix})
    return _opened(row, 1, secret, created=True)


def _next_attempt(call: _Handshake, row: RunRow) -> OpenedRun:
    try:
        require(call.actor, Action.RUN_REATTACH, project=row.project_id, run=row.id)
    except Forbidden:
        raise Forbidden(
            f"run {row.key} exists, and only its own token or a maintainer may resume its training; "
            "attach to it to add evaluations, or train under another run key"
        ) from None
    _refuse_archived(row)
    number = row.newest_attempt + 1
    resumed = replace(
        row, **call.says, newest_attempt=number, status=Status.RUNNING.value, stop_requested=False
    )
    _insert_attempt(call, resumed)
    opened = _store(call, row, resumed, number)
    if call.resume_step is not None:
        summaries.cut_before(
            call.session,
            project_id=row.project_id,
            run_id=row.id,
            number=number,
            step=call.resume_step,
        )
    liveness.ended(call.session, resumed, now=call.now)
    return opened


def _store(call: _Handshake, row: RunRow, wanted: RunRow, number: int) -> OpenedRun:
    """Keep what differs and answer; one audit row if anything was written."""
    wanted = replace(wanted, recipe=_recipe(call.session, wanted))
    detail: dict[str, Any] = {"attempt": number}
    changed = _changes(row, wanted)
    if wanted.recipe != row.recipe:
        _change_recipe(call, row, wanted)
    elif wanted != row:
        db.update_run(call.session, replace(wanted, updated_at=call.now))
    secret, prefix = _run_token(call, row)
    if wanted != row or secret is not None:
        detail |= {"changed": changed} if changed else {}
        _audit(call.session, call.actor, Action.RUN_REATTACH, row, call.now, detail | prefix)
    return _opened(row, number, secret, created=False)


def _change_recipe(call: _Handshake, row: RunRow, wanted: RunRow) -> None:
    """Leave one seed set and join another, on every board of the run."""
    session, recipes = call.session, [row.recipe, wanted.recipe]
    boards = evaluations.boards_of_run(session, project_id=row.project_id, run_id=row.id)
    move_sets(session, boards, project_id=row.project_id, recipes=recipes)
    pointers = [
        baselines.lock_to_judge(session, project_id=row.project_id, suite_id=suite_id, stage=stage)
        for suite_id, stage in sorted(boards)
    ]
    db.update_run(session, replace(wanted, updated_at=call.now))
    evaluations.forget_seeds(session, project_id=row.project_id, run_id=row.id)
    move_rivals_of(session, pointers, recipes)


def _attach(call: _Handshake) -> OpenedRun:
    # Archiving waits for this lock, so nobody attaches to a run that is being taken away.
    row = db.lock_by_key(call.session, project_id=call.project.id, key=call.key)
    require(call.actor, Action.RUN_ATTACH, project=call.project.id, run=row.id if row else None)
    if row is None:
        raise NotFound(f"no run {call.key!r} to attach to; open it with role train first")
    number = db.attempt_number(
        call.session, project_id=row.project_id, run_id=row.id, attempt_id=call.attempt_id
    )
    if number is None:
        _refuse_archived(row)
    return _opened(row, row.newest_attempt if number is None else number, None, created=False)


def _refuse_archived(row: RunRow) -> None:
    if row.archived_at is not None:
        raise Conflict(f"run {row.key} is archived; use another run key")


def _checked(request: OpenRun) -> dict[str, Any]:
    """Columns for what the request says, and only that."""
    says: dict[str, Any] = {}
    for name, text in (
        ("name", request.name),
        ("run_group", request.run_group),
        ("git_commit", request.git_commit),
    ):
        if text is not None and text.strip():
            says[name] = checked_name(text, field=name)
    if request.notes:
        says["notes"] = checked_text(request.notes, field="notes")
    if request.tags:
        says["tags"] = checked_tags(request.tags, field="tags")
    if request.seed is not None:
        says["seed"] = checked_int(request.seed, field="seed")
    if request.split_seeded is not None:
        says["split_seeded"] = request.split_seeded
    for name, document in (("config", request.config), ("environment", request.environment)):
        if document:
            says[name] = storable(document, field=name)
    return says


def _changes(before: RunRow, after: RunRow) -> list[str]:
    """Which fields differ, `config.<key>` one by one."""
    old, new = asdict(before), asdict(after)
    names = {name for name in old if old[name] != new[name]} - {"config", "newest_attempt", "recipe"}
    keys = {
        key
        for key in {**old["config"], **new["config"]}
        if not _same_member(old["config"], new["config"], key)
    }
    return sorted(names) + sorted(f"{CONFIG_PREFIX}{key}" for key in keys)


def _same_member(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    return key in old and key in new and old[key] == new[key]


def _recipe(session: Session, row: RunRow) -> bytes:
    """The digest that the run's siblings share; one of its own while nothing is known of how it was made."""
    volatile = policies.newest(session, row.project_id).volatile
    seeded = row.seed is not None or SEED_KEY in row.config
    if not is_known(row.config, row.git_commit, volatile, seeded=seeded):
        return row.id.bytes
    return recipe_digest(row.config, row.git_commit, volatile)


def _insert_attempt(call: _Handshake, row: RunRow) -> None:
    db.insert_attempt(
        call.session,
        project_id=row.project_id,
        run_id=row.id,
        number=row.newest_attempt,
        attempt_id=call.attempt_id,
        resume_step=call.resume_step,
        now=call.now,
    )


def _run_token(call: _Handshake, row: RunRow) -> tuple[str | None, dict[str, str]]:
    """A fresh secret (earlier ones cannot be shown again, they keep working) and its prefix for the audit."""
    if call.actor.role is Role.RUN or row.archived_at is not None:
        return None, {}
    token, secret = mint(
        call.session,
        call.actor,
        project_id=row.project_id,
        role=Role.RUN,
        label=f"run {row.key}",
        expires_at=None,
        run_id=row.id,
        now=call.now,
        new_id=call.new_id,
    )
    return secret, {"run_token": token.prefix}


def _opened(row: RunRow, number: int, secret: str | None, *, created: bool) -> OpenedRun:
    return OpenedRun(
        project_id=row.project_id,
        run_id=row.id,
        key=row.key,
        attempt=number,
        run_token=secret,
        created=created,
    )


def _audit(
    session: Session, actor: Actor, action: Action, row: RunRow, now: datetime, detail: Mapping[str, Any]
) -> None:
    audit.write(
        session,
        project_id=row.project_id,
        actor=actor.name,
        action=action,
        subject=f"run {row.key}",
        detail=detail,
        now=now,
    )
