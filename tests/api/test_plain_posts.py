"""A plain post is read and answered on a way of its own: to the same end as the usual way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from app.api.posted_bodies import posted_from, read_plainly
from app.api.schemas import PostEvaluation
from app.api.strict_json import read_json
from app.errors import InvalidInput
from app.services.posted import PostedEvaluation
from tests.api.calling import Caller, a_post, a_run

NAMES = [
    '"a"',
    '"b"',
    '"k=4,m=2"',
    '"δ"',
    '"a:b"',
    '":a"',
    '"a\\""',
    '"\\u0061"',
    '"\\u0000"',
    '"\\ud800"',
    '""',
    '"' + "x" * 257 + '"',
]
NUMBERS = [
    "0", "-0", "-0.0", "1.5", "1e-400", "1e400", "-2.5E3", "9007199254740993", "9223372036854775808",
    "123456789012345678901234567890", '"NaN"', '"-Infinity"', "NaN", "true", "null", '"1"', "[]", "01",
]  # fmt: skip
COUNTS = ["0", "1800", "-0", "-1", "1.0", "1e3", "9223372036854775807", "9223372036854775808", "null", '"3"']
TOKENS = {
    "metric": NAMES,
    "group": NAMES,
    "value": NUMBERS,
    "n": COUNTS,
    "stderr": [*NUMBERS, "-1"],
    "bound": ['"exact"', '"at_least"', '"about"', "null", "1"],
    "colour": ['"red"'],
}
TOPS = {
    "suite": ['"val"', '"a b"', "7"],
    "stage": ['"final"', '"op:er"', '""'],
    "step": COUNTS,
    "purpose": ['"progress"', '"maybe"'],
    "stated": ['{"n": 3}', '{"overall": {"a": 1, "a": 2}}', '{"overall": {"a": "NaN"}}', "{}", '{"m": 3}'],
    "info": ["{}", '{"big": 18446744073709551615}', '{"a": {"b": [1, 2.5, "x"]}}', '{"b": 1e400}'],
    "metrics": ['{"a": "lower"}', "null"],
    "attempt_id": [f'"{uuid4()}"', '"x"'],
    "values": ["[]", "null", "{}"],
    "sweet": ["1"],
}


PLAIN = {"metric": '"a"', "group": '"g"', "value": "1.5", "n": "3"}


def an_object(members: list[tuple[str, str]], colon: str) -> str:
    return "{" + ", ".join(f'"{name}"{colon}{token}' for name, token in members) + "}"


def bodies(colon: str) -> Iterator[bytes]:
    """A plain body with one thing in it that may be odd: a token, a member more, a member twice, a member less."""
    plain = list(PLAIN.items())
    for name, tokens in TOKENS.items():
        for token in tokens:
            for members in ([*(PLAIN | {name: token}).items()], [*plain, (name, token)]):
                values = an_object(plain, colon), an_object(members, colon)
                yield an_object([("suite", '"val"'), ("values", f"[{', '.join(values)}]")], colon).encode()
    for name in PLAIN:
        less = an_object([member for member in plain if member[0] != name], colon)
        yield an_object([("suite", '"val"'), ("values", f"[{less}]")], colon).encode()
    for name, tokens in TOPS.items():
        for token in tokens:
            beside = [("suite", '"val"'), ("values", f"[{an_object(plain, colon)}]"), (name, token)]
            yield an_object(beside, colon).encode()
            yield an_object([*beside[1:], beside[0]], colon).encode()
            yield an_object([*beside[1:]], colon).encode()


def usually(body: bytes) -> PostedEvaluation | None:
    """What the body says on the usual way, None where it is refused."""
    try:
        return posted_from(PostEvaluation.model_validate(read_json(body)))
    except (InvalidInput, ValidationError):
        return None


@pytest.mark.parametrize(("colon", "least"), [(":", 50), (": ", 50), (" :", 0), ("\n:", 0)])
def test_what_is_read_plainly_is_what_is_read_usually(colon: str, least: int) -> None:
    read = [(body, read_plainly(body), usually(body)) for body in bodies(colon)]

    # By their text, in which one zero is not the other.
    assert [body for body, plain, usual in read if plain is not None and repr(plain) != repr(usual)] == []
    assert sum(plain is not None for _, plain, _ in read) >= least


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["dense", "with spaces"])
@pytest.mark.parametrize("more", [{}, {"info": {"note": "a"}, "stated": {"n": 7, "overall": {"a": 2.0}}}])
def test_an_ordinary_post_is_read_plainly(separators: tuple[str, str], more: dict[str, Any]) -> None:
    value = {"metric": "a", "group": "k=4", "value": 0.25, "n": 3, "stderr": None, "bound": "at_least"}
    document = {"suite": "val", "step": 3, "values": [value, {**value, "group": "δ"}], **more}
    body = json.dumps(document, separators=separators, ensure_ascii=False).encode()

    plainly = read_plainly(body)

    assert plainly is not None
    assert plainly == usually(body)
    assert [each.group for each in plainly.values] == ["k=4", "δ"]


@pytest.mark.parametrize(
    "twice",
    [
        pytest.param('"values": [{"metric": "a", "group": "g", "value": 1, "value": 2}]', id="in a value"),
        pytest.param('"values": [], "values": [{"metric": "a", "group": "g", "value": 1}]', id="the values"),
        pytest.param('"step": 1, "step": 2, "values": [{"metric": "a", "group": "g", "value": 1}]', id="beside"),
    ],
)  # fmt: skip
def test_a_member_given_twice_is_seen(twice: str) -> None:
    assert read_plainly(f'{{"suite": "val", {twice}}}'.encode()) is None


def test_a_bad_token_is_told_so_before_anything_else(admin: Caller) -> None:
    path = f"/runs/{a_run(admin, key='run-1')}/evaluations/{uuid4()}"
    stranger = admin.with_token("trn_nobody_nothing")

    plain = stranger.send("PUT", path, a_post({"a": 1.0}))
    wrong = stranger.send("PUT", path, {**a_post({"a": 1.0}), "stepp": 3})
    without = admin.with_token(None).send("PUT", path, a_post({"a": 1.0}))

    assert [plain.status_code, wrong.status_code, without.status_code] == [401, 401, 401]
    assert plain.json()["detail"] == wrong.json()["detail"]


def test_a_plain_retry_and_other_content_are_known_again(admin: Caller) -> None:
    run_id, evaluation_id = a_run(admin, key="run-1"), str(uuid4())
    path = f"/runs/{run_id}/evaluations/{evaluation_id}"

    first = admin.send("PUT", path, a_post({"a": 1.0}))
    again = admin.send("PUT", path, a_post({"a": 1.0}))
    shouted = admin.send("PUT", f"/runs/{run_id}/evaluations/{evaluation_id.upper()}", a_post({"a": 1.0}))
    other = admin.send("PUT", path, a_post({"a": 2.0}))

    assert [each.status_code for each in (first, again, shouted, other)] == [201, 200, 200, 409]
    assert first.json() == again.json() == shouted.json()
