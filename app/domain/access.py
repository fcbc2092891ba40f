"""Who may do what: one table of role × action, asked by every service; deny by default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from app.errors import Forbidden, NotFound


class Role(StrEnum):
    """Viewer, reporter and maintainer belong to one project; admin to the server; run to a single run."""

    VIEWER = "viewer"
    REPORTER = "reporter"
    MAINTAINER = "maintainer"
    ADMIN = "admin"
    RUN = "run"


class Action(StrEnum):
    PROJECT_READ = "project.read"
    PROJECT_CREATE = "project.create"
    AUDIT_READ = "audit.read"
    TOKEN_READ = "token.read"  # noqa: S105
    TOKEN_CREATE = "token.create"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    RUN_OPEN = "run.open"
    RUN_ATTACH = "run.attach"
    RUN_REATTACH = "run.reattach"
    RUN_EDIT = "run.edit"
    RUN_ARCHIVE = "run.archive"
    SUITE_CREATE = "suite.create"
    SUITE_CHANGE = "suite.change"
    EVALUATION_POST = "evaluation.post"
    RECORDS_APPEND = "records.append"
    POLICY_CHANGE = "policy.change"
    POLICY_PREVIEW = "policy.preview"
    BASELINE_PROMOTE = "baseline.promote"
    BASELINE_OVERRIDE = "baseline.override"
    BASELINE_ROLLBACK = "baseline.rollback"
    VALIDITY_CHANGE = "validity.change"
    ALERT_CHANGE = "alert.change"
    SINK_READ = "sink.read"
    SINK_CHANGE = "sink.change"
    SINK_TEST = "sink.test"
    # Of one message: the server's own plumbing, which maintainers see and admins mend.
    DELIVERY_RETRY = "delivery.retry"
    DELIVERY_DISCARD = "delivery.discard"
    RETENTION_CHANGE = "retention.change"
    # What the worker does by those rules; nobody asks for it over the API.
    RETENTION_PURGE = "retention.purge"
    IMPORT = "import"


_READS = {Action.PROJECT_READ, Action.POLICY_PREVIEW}
_REPORTS = {
    Action.RUN_OPEN,
    Action.RUN_ATTACH,
    Action.RUN_EDIT,
    Action.SUITE_CREATE,
    Action.EVALUATION_POST,
    Action.RECORDS_APPEND,
    Action.ALERT_CHANGE,
}
_MAINTAINS = {
    Action.AUDIT_READ,
    Action.TOKEN_READ,
    Action.TOKEN_CREATE,
    Action.TOKEN_REVOKE,
    Action.RUN_REATTACH,
    Action.RUN_ARCHIVE,
    Action.SUITE_CHANGE,
    Action.POLICY_CHANGE,
    Action.BASELINE_PROMOTE,
    Action.BASELINE_OVERRIDE,
    Action.BASELINE_ROLLBACK,
    Action.VALIDITY_CHANGE,
    Action.SINK_READ,
    Action.SINK_CHANGE,
    Action.SINK_TEST,
    Action.RETENTION_CHANGE,
    Action.IMPORT,
}

# A run token lies on a rented host: it appends to its own run and does nothing else, not even read.
ALLOWED: dict[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset(_READS),
    Role.REPORTER: frozenset(_READS | _REPORTS),
    Role.MAINTAINER: frozenset(_READS | _REPORTS | _MAINTAINS),
    Role.ADMIN: frozenset(Action),
    Role.RUN: frozenset(
        {Action.RUN_ATTACH, Action.RUN_REATTACH, Action.EVALUATION_POST, Action.RECORDS_APPEND}
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks.

    Args:
        name: For the audit trail, e.g. `ana (token trn_3fa9…)`.
        project: The project the credential belongs to; None only for admin.
        run: The run the credential belongs to; set exactly for role run.
    """

    name: str
    role: Role
    token: UUID | None = None
    project: UUID | None = None
    run: UUID | None = None


def may(actor: Actor, action: Action) -> bool:
    """Whether the actor's role carries the action at all, somewhere."""
    return action in ALLOWED[actor.role]


def require(actor: Actor, action: Action, *, project: UUID | None, run: UUID | None = None) -> None:
    """Pass when the actor may do `action` on that project's entity (and that run's, for a run token).

    Args:
        project: The project that the entity belongs to; None for the server itself.
        run: The run that the entity belongs to, where it belongs to one.

    Raises:
        NotFound: The entity is another project's, whose existence is nobody else's business.
        Forbidden: The entity is visible, the action is not allowed.
    """
    if actor.role is not Role.ADMIN and project is not None and project != actor.project:
        raise NotFound("no such thing here; check the name, and that your token belongs to this project")
    if actor.role is Role.RUN and (run is None or run != actor.run):
        raise Forbidden("this token may only append to its own run; use a token of the project")
    if actor.role is not Role.ADMIN and project is None:
        raise Forbidden(f"{action} needs an admin token; ask whoever runs the server")
    if action not in ALLOWED[actor.role]:
        raise Forbidden(f"role {actor.role} may not do {action}; ask a maintainer for a token that may")
