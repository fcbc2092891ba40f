"""CSV files as teams keep them, in and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import PlainTextResponse, Response

from app.api.answers import ImportAnswer
from app.api.bodies import media_type, raw_body
from app.api.dependencies import ActorDep, NewId, Now, SessionDep
from app.api.formats.csv_text import to_csv
from app.api.formats.table import Cell, Table
from app.api.problems import UnsupportedBody
from app.api.router import a_router
from app.api.schemas import Key
from app.api.strict_json import text_problem
from app.api.texts import checked_text
from app.db import board_exports, run_lists
from app.db.run_lists import RunFilter, RunSort
from app.domain.access import Action
from app.domain.evaluations import Bound
from app.errors import InvalidInput
from app.services import exchange, projects, suites

router = a_router("exchange")
_EXAMPLE = "run_id,label,timestamp,notes,tags,metric:nrmse\nrun-1,U-net,2026-11-20,second try,base,0.12\n"
_CSV_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}


def _text(request: Request, body: Annotated[bytes, Depends(raw_body)]) -> str:
    if media_type(request) not in ("text/csv", "application/csv"):
        raise UnsupportedBody("send a CSV file as text/csv", field="Content-Type")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the file is not UTF-8 (byte {error.start})", field="body") from None
    if problem := text_problem(text):
        raise InvalidInput(f"the file {problem}", field="body")
    return text


@router.post("/projects/{project}/import/csv", openapi_extra=_CSV_BODY)
def import_csv(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    suite: Annotated[Key, Query(description="The suite that the numbers belong to.")],
    text: Annotated[str, Depends(_text)],
    now: Now,
    new_id: NewId,
) -> ImportAnswer:
    """A run with one evaluation of each line; all or none, and the same file again changes nothing.

    Columns of percentages and changes are not imported: the server computes them itself.
    """
    imported = exchange.import_csv(
        session, actor, project_key=project, suite_key=suite, text=text, now=now, new_id=new_id
    )
    return ImportAnswer(
        created=imported.created, known=imported.known, skipped_columns=imported.skipped_columns
    )


@router.get(
    "/projects/{project}/runs.csv",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def export_csv(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    suite: Annotated[Key | None, Query(description="Whose numbers; without it only the runs.")] = None,
    stage: str = "final",
) -> Response:
    """Every run that is not archived, with the overall of its latest evaluation (the macro mean where it has none)."""
    row = projects.project_for(session, actor, key=project, action=Action.PROJECT_READ)
    metrics: list[str] = []
    numbers: dict[Any, dict[str, Cell]] = {}
    if suite is not None:
        board = suites.show_suite(session, actor, project_key=project, suite_key=suite)
        for found in board_exports.wholes(
            session, project_id=row.id, suite_id=board.id, stage=checked_text(stage, "stage")
        ):
            shown: Cell = found.value
            if found.bound != Bound.EXACT:
                shown = f"{'>' if found.bound == Bound.AT_LEAST else '<'}{found.value!r}"
            numbers.setdefault(found.run_id, {})[found.metric] = shown
        metrics = sorted({metric for cells in numbers.values() for metric in cells})
    rows = []
    after = None
    while True:
        page = run_lists.page(
            session,
            project_id=row.id,
            where=RunFilter(),
            sort=RunSort(by="key", descending=False),
            limit=200,
            after=after,
        )
        for run in page.items:
            cells = numbers.get(run.id, {})
            if suite is None or cells:
                about = (run.key, run.name, run.created_at.isoformat(), run.notes, ";".join(run.tags))
                rows.append((*about, *(cells.get(metric) for metric in metrics)))
        after = page.next_after
        if after is None:
            break
    columns = (*exchange.RUN_COLUMNS, *(exchange.METRIC_PREFIX + metric for metric in metrics))
    text = to_csv(Table(title="runs", columns=columns, rows=rows))
    return PlainTextResponse(text, media_type="text/csv", headers={"X-Content-Type-Options": "nosniff"})
