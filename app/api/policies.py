"""Policies: JSON or TOML, versions, preview, templates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.responses import PlainTextResponse, Response

from app.api.answers import ChangedVerdictAnswer, PolicyAnswer, PreviewAnswer
from app.api.bodies import media_type, raw_body
from app.api.dependencies import ActorDep, Now, SessionDep
from app.api.problems import UnsupportedBody
from app.api.router import a_router
from app.api.strict_json import read_json
from app.db.policies import PolicyRow
from app.domain.access import Action
from app.domain.policies import (
    JSON_SCHEMA,
    TEMPLATES,
    Policy,
    policy_from_document,
    policy_from_toml,
    policy_to_toml,
    template,
)
from app.errors import InvalidInput, NotFound
from app.services import policies, projects

router = a_router("policies")
_TOML = ("application/toml", "text/plain", "text/toml")
_EXAMPLE = {
    "rel_tol": 0.1,
    "gap": {"min": 0.02, "max": 0.08},
    "rule": [{"metric": "log2_mse", "tier": "easy", "max": 0.15}],
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": _EXAMPLE},
            "application/toml": {
                "schema": {"type": "string"},
                "example": 'rel_tol = 0.1\n\n[[rule]]\nmetric = "log2_mse"\ntier = "easy"\nmax = 0.15\n',
            },
        },
    }
}


def _policy(request: Request, body: Annotated[bytes, Depends(raw_body)]) -> Policy:
    kind = media_type(request)
    if kind == "application/json":
        document = read_json(body)
        if not isinstance(document, dict):
            raise InvalidInput("a policy is a JSON object; see /api/v1/policy-schema")
        return policy_from_document(document)
    if kind in _TOML:
        try:
            return policy_from_toml(body.decode())
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the policy is not UTF-8 (byte {error.start})") from None
    raise UnsupportedBody("send a policy as application/json or application/toml", field="Content-Type")


PolicyDep = Annotated[Policy, Depends(_policy)]


@router.get("/projects/{project}/policy", response_model=PolicyAnswer)
def show_policy(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    format: Literal["json", "toml"] = "json",  # noqa: A002  the name of the query parameter
) -> PolicyAnswer | Response:
    """The newest policy, or the version asked for."""
    row = policies.show_policy(session, actor, project_key=project, version=version)
    if format == "toml":
        text = policy_to_toml(policy_from_document(dict(row.document), version=row.version))
        return PlainTextResponse(text, media_type="application/toml")
    found = projects.project_for(session, actor, key=project, action=Action.PROJECT_READ)
    warnings = policies.warnings_about(session, found, policy_from_document(dict(row.document)))
    return _answer(row, warnings)


@router.put("/projects/{project}/policy", openapi_extra=_BODY)
def put_policy(
    session: SessionDep, actor: ActorDep, project: str, policy: PolicyDep, now: Now
) -> PolicyAnswer:
    """Make a new version; an equal policy makes none. Limits that contradict each other come back as warnings."""
    put = policies.put_policy(session, actor, project_key=project, policy=policy, now=now)
    row = policies.show_policy(session, actor, project_key=project, version=put.version)
    return _answer(row, put.warnings)


@router.post("/projects/{project}/policy/preview", openapi_extra=_BODY)
def preview_policy(session: SessionDep, actor: ActorDep, project: str, policy: PolicyDep) -> PreviewAnswer:
    """Which of the newest verdicts this draft would change; nothing is stored."""
    preview = policies.preview(session, actor, project_key=project, policy=policy)
    return PreviewAnswer(
        changed=[
            ChangedVerdictAnswer(
                evaluation=change.evaluation_id,
                run=change.run,
                suite=change.suite,
                stage=change.stage,
                gate_now=change.gate_now,
                gate_then=change.gate_then,
                sentence_then=change.sentence_then,
            )
            for change in preview.changed
        ],
        examined=preview.examined,
        warnings=list(preview.warnings),
    )


@router.get("/policy-templates/{name}", response_class=PlainTextResponse)
def show_template(actor: ActorDep, name: str) -> Response:  # noqa: ARG001  any token may read it
    """A built-in policy as TOML, with comments."""
    if name not in TEMPLATES:
        raise NotFound(f"no template of that name; there are {', '.join(sorted(TEMPLATES))}", field="name")
    return PlainTextResponse(template(name), media_type="application/toml")


@router.get("/policy-schema")
def show_schema(actor: ActorDep) -> dict[str, Any]:  # noqa: ARG001  any token may read it
    """The JSON schema of policies, for editors."""
    return dict(JSON_SCHEMA)


def _answer(row: PolicyRow, warnings: tuple[str, ...]) -> PolicyAnswer:
    return PolicyAnswer(
        version=row.version,
        policy=dict(row.document),
        warnings=list(warnings),
        created_at=row.created_at,
        created_by=row.created_by,
    )
