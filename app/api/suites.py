"""Suites: what makes evaluations comparable."""

from __future__ import annotations

from typing import Any

from app.api.answers import Listing, SuiteAnswer, listing
from app.api.dependencies import ActorDep, NewId, Now, PageDep, SessionDep, a_text, cursor_of
from app.api.router import a_router
from app.api.schemas import GroupBody, SuiteBody
from app.db.suites import SuiteRow
from app.domain.suites import has_explicit_weights, suite_from_document, suite_to_document, weights
from app.services import suites

router = a_router("suites")


@router.put("/projects/{project}/suites/{suite}")
def put_suite(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    suite: str,
    body: SuiteBody,
    now: Now,
    new_id: NewId,
) -> SuiteAnswer:
    """Create a suite, or make a new version of it; an equal document makes none."""
    document: dict[str, Any] = {
        **body.model_dump(exclude={"groups"}),
        "groups": group_documents(body.groups),
    }
    row = suites.put_suite(
        session, actor, project_key=project, suite_key=suite, document=document, now=now, new_id=new_id
    )
    return _answer(row)


@router.get("/projects/{project}/suites")
def list_suites(session: SessionDep, actor: ActorDep, project: str, page: PageDep) -> Listing[SuiteAnswer]:
    after = page.after_as(a_text)
    rows = suites.list_suites(
        session, actor, project_key=project, limit=page.limit + 1, after=after[0] if after else None
    )
    shown = rows[: page.limit]
    return listing(map(_answer, shown), cursor_of(shown[-1].key) if len(rows) > page.limit else None)


@router.get("/projects/{project}/suites/{suite}")
def show_suite(session: SessionDep, actor: ActorDep, project: str, suite: str) -> SuiteAnswer:
    return _answer(suites.show_suite(session, actor, project_key=project, suite_key=suite))


def group_documents(groups: list[GroupBody | str]) -> list[Any]:
    return [group if isinstance(group, str) else group.model_dump(exclude_none=True) for group in groups]


def _answer(row: SuiteRow) -> SuiteAnswer:
    suite = suite_from_document(row.key, row.version, row.document, row.frozen_weights)
    document = suite_to_document(suite)
    if has_explicit_weights(suite):
        origin = "suite"
    elif not row.frozen_weights:
        origin = "equal"
    else:
        origin = "first_champion" if row.weights_final else "first_evaluation"
    return SuiteAnswer(
        key=row.key,
        version=row.version,
        dataset=suite.dataset,
        dataset_version=suite.dataset_version,
        split=suite.split,
        protocol=suite.protocol,
        groups=document["groups"],
        metrics=document["metrics"],
        weights=dict(weights(suite)),
        weights_from=origin,
        created_at=row.created_at,
        created_by=row.created_by,
    )
