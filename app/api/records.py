"""Records of a run's history: the one route that is asked many times a second."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Request, Response

from app.api.bodies import media_type
from app.api.dependencies import Credentials, Now, in_one_transaction
from app.api.history_answers import RecordsAnswer
from app.api.problems import UnsupportedBody
from app.api.router import a_router
from app.api.strict_json import read_json
from app.db import Session
from app.domain.access import Actor
from app.domain.batches import BatchDocument
from app.errors import InvalidInput
from app.services.ingest import Taken, take_records

router = a_router("records")
_decoder = msgspec.json.Decoder(BatchDocument)
_EXAMPLE = {
    "attempt_id": "01998f6e-3d6c-7b5e-8f4d-1a2b3c4d5e6f",
    "role": "train",
    "first": 0,
    "count": 4,
    "blocks": [
        {
            "steps": {"start": 0, "stride": 10},
            "times": [1795176000.0, 1795176001.0, 1795176002.0],
            "metrics": {"loss": [0.9, 0.5, "NaN"]},
            "groups": {"k=4,m=2": {"log2_mse": [0.4, 0.3, 0.3]}},
        }
    ],
    "other": [
        {"idx": 3, "type": "event", "time": 1795176003.0, "kind": "note", "level": "info", "title": "warm"}
    ],
    "logged": 4,
    "dropped": {},
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["first", "count"],
                    "properties": {
                        "first": {
                            "type": "integer",
                            "description": "The batch is records [first, first + count).",
                        },
                        "count": {"type": "integer"},
                        "attempt_id": {"type": "string", "format": "uuid"},
                        "role": {"enum": ["train", "attach"]},
                        "rank": {"type": "integer"},
                        "blocks": {"type": "array", "items": {"type": "object"}},
                        "other": {"type": "array", "items": {"type": "object"}},
                        "logged": {"type": "integer"},
                        "dropped": {"type": "object", "additionalProperties": {"type": "integer"}},
                        "live": {"type": "boolean"},
                    },
                },
                "example": _EXAMPLE,
            }
        },
    }
}


def _document(request: Request, body: bytes) -> BatchDocument:
    if media_type(request) != "application/json":
        raise UnsupportedBody("send application/json, gzip if you like", field="Content-Type")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # The slow way, which names every field that cannot be stored; what it lets pass is only of the wrong kind.
        read_json(body)
        said, _, place = str(error).partition(" - at ")
        raise InvalidInput(said[:500], field=_dotted(place) or "body") from None


def _dotted(place: str) -> str:
    """`$.blocks[0].times[...]` as a field: `blocks.0.times`."""
    return re.sub(
        r"\[(\d+|\.\.\.)\]", lambda found: "" if found[1] == "..." else f".{found[1]}", place.strip("`$")
    )[1:]


@router.post("/runs/{run_id}/streams/{stream_id}/records", response_model=RecordsAnswer, openapi_extra=_BODY)
async def post_records(
    request: Request, credentials: Credentials, run_id: UUID, stream_id: UUID, now: Now
) -> Response:
    """Append records to a run's history; the answer says up to where every record is settled for good.

    What is known is skipped, so a batch may be sent again and cut anew; records that come too early answer 409 with
    `expected`. A record that cannot be stored is rejected by itself, with a code. An empty batch says that the training
    lives.
    """
    body = await request.body()

    def take(session: Session, actor: Actor) -> Taken:
        document = _document(request, body)
        return take_records(session, actor, run_id=run_id, stream_id=stream_id, document=document, now=now)

    taken = await in_one_transaction(request, credentials, now, take)
    answer = {
        "next_idx": taken.next_idx,
        "rejected": [{"idx": idx, "code": code} for idx, code in sorted(taken.rejected.items())],
        "server_time": now,
        "stop": taken.stop,
    }
    return Response(msgspec.json.encode(answer), media_type="application/json")
