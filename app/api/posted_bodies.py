"""The body of a posted evaluation, as the services take it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
from pydantic import ValidationError

from app.api.numbers import INT64_MAX, MAX_NAME
from app.api.schemas import PostEvaluation
from app.api.strict_json import read_json
from app.api.suites import group_documents
from app.domain.evaluations import Bound, Loss, Purpose, Stated, Value
from app.errors import InvalidInput
from app.services.posted import MAX_VALUES, PostedEvaluation

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, Any]])
_values = msgspec.json.Decoder(tuple[Value, ...])
_FIELDS = frozenset(Value.__dataclass_fields__)
_SPACE_BEFORE_COLON = re.compile(rb'"\s+:')


def posted_from(body: PostEvaluation) -> PostedEvaluation:
    about = {
        name: text
        for name in ("dataset", "dataset_version", "split", "protocol")
        if (text := getattr(body, name))
    }
    return PostedEvaluation(
        suite=body.suite,
        stage=body.stage,
        step=body.step,
        attempt_id=body.attempt_id,
        purpose=Purpose(body.purpose),
        values=tuple(
            Value(
                metric=value.metric,
                group=value.group,
                value=value.value,
                n=value.n,
                stderr=value.stderr,
                bound=Bound(value.bound),
            )
            for value in body.values
        ),
        stated=Stated(n=body.stated.n, overall=body.stated.overall),
        loss=Loss(
            train=body.loss.train,
            val=body.loss.val,
            total=body.loss.total,
            parts=body.loss.parts,
            weights=body.loss.weights,
        ),
        info=body.info,
        metrics=body.metrics,
        groups=None if body.groups is None else tuple(group_documents(body.groups)),
        about=about,
    )


def read_plainly(body: bytes) -> PostedEvaluation | None:
    """What reading the body strictly, as a `PostEvaluation`, gives; None where only that can tell.

    The values, of which there may be hundreds, are decoded as what they become; the rest goes the usual way. With 250
    values this takes an eighth of the time.
    """
    # In strings only a backslash hides a quote, so that without one each `":` ends a key, or begins a text; and two
    # members of one name show in their number.
    if b"\\" in body or (body.count(b":") != body.count(b'":') and _SPACE_BEFORE_COLON.search(body)):
        return None
    try:
        members = _members.decode(body)
        values = bytes(members.pop("values", b"[]"))
        rest = b",".join(b'"%s":%s' % (name.encode(), bytes(member)) for name, member in members.items())
        found = _plain_values(values)
        if found is None or body.count(b'":') != values.count(b'":') + rest.count(b'":') + (values != b"[]"):
            return None
        posted = posted_from(PostEvaluation.model_validate(read_json(b"{%s}" % rest)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidInput, ValidationError):
        return None
    return replace(posted, values=found)


def _plain_values(sent: bytes) -> tuple[Value, ...] | None:
    objects = _objects.decode(sent)
    values = _values.decode(sent)
    names = {value.metric for value in values} | {value.group for value in values}
    counts = {value.n for value in values} - {None}
    is_plain = (
        len(values) <= MAX_VALUES
        and sum(map(len, objects)) == sent.count(b'":')
        and _FIELDS.issuperset(set().union(*objects))
        and all(0 < len(name) <= MAX_NAME for name in names)
        and all(0 <= count <= INT64_MAX for count in counts if count is not None)
    )
    return values if is_plain else None
