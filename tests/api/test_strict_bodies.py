"""What a body may not hold, on a route that takes anything (a run's configuration)."""

from __future__ import annotations

import gzip
import json
from uuid import uuid4

import pytest

from app.api.bodies import MAX_BODY_BYTES
from tests.api.calling import Caller, row_counts

DEEP = '{"a":' * 400 + "1" + "}" * 400


def body(config: str) -> str:
    return f'{{"attempt_id": "{uuid4()}", "config": {config}}}'


@pytest.mark.parametrize(
    ("content", "field"),
    [
        pytest.param(body('{"lr": NaN}'), "config.lr", id="a bare NaN"),
        pytest.param(body('{"lr": -Infinity}'), "config.lr", id="a bare infinity"),
        pytest.param(body('{"lr": 1e400}'), "config.lr", id="beyond a double"),
        pytest.param(body('{"lr": ' + "9" * 5000 + "}"), "config.lr", id="five thousand digits"),
        pytest.param(body('{"a": "x\\u0000y"}'), "config.a", id="NUL"),
        pytest.param(body('{"a": "\\ud800"}'), "config.a", id="a lone surrogate"),
        pytest.param(
            body('{"a": ["x", {"b": "\\udfff"}]}'), "config.a.1.b", id="a lone surrogate further in"
        ),
        pytest.param(body('{"\\u0000": 1}'), "config", id="NUL in a key"),
        pytest.param(body('{"a": 1, "a": 2}'), "config.a", id="a key given twice"),
        pytest.param(body(DEEP), "config.a.a.a", id="400 levels"),
        pytest.param(body('{"a": 1'), None, id="cut short"),
        pytest.param("", None, id="empty"),
        pytest.param("[]", None, id="a list"),
        pytest.param("null", None, id="null"),
        pytest.param('"' + "x" * 1000 + '"', None, id="a text"),
        pytest.param('{"attempt_id": 7}', "attempt_id", id="a wrong type"),
        pytest.param(f'{{"attempt_id": "{uuid4()}", "seed": 9223372036854775808}}', "seed", id="2^63"),
        pytest.param(
            f'{{"attempt_id": "{uuid4()}", "seed": 1.5}}', "seed", id="a fraction for a whole number"
        ),
        pytest.param(f'{{"attempt_id": "{uuid4()}", "seed": "7"}}', "seed", id="a text for a number"),
        pytest.param(f'{{"attempt_id": "{uuid4()}", "sede": 7}}', "sede", id="a misspelt field"),
    ],
)
def test_a_bad_body_is_refused_with_its_field_and_nothing_is_stored(
    admin: Caller, database_url: str, content: str, field: str | None
) -> None:
    admin.post("/projects", {"key": "heights"})
    before = row_counts(database_url)

    response = admin.send("PUT", "/projects/heights/runs/run-1", content=content)

    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert field is None or (problem["field"] or "").startswith(field), problem
    assert problem["detail"]
    assert row_counts(database_url) == before


def test_bytes_that_are_no_utf8_are_refused(admin: Caller) -> None:
    response = admin.send("POST", "/projects", content=b'{"key": "\xff"}')

    assert response.status_code == 422
    assert "UTF-8" in response.json()["detail"]


def test_a_body_beyond_the_limit_is_413_packed_or_not(admin: Caller) -> None:
    large = json.dumps({"key": "heights", "name": "x" * (MAX_BODY_BYTES + 1)}).encode()

    plain = admin.send("POST", "/projects", content=large)
    packed = admin.send(
        "POST", "/projects", content=gzip.compress(large), headers={"Content-Encoding": "gzip"}
    )

    assert (plain.status_code, packed.status_code) == (413, 413)
    assert "8 MiB" in plain.json()["detail"]


def test_a_packed_body_is_read(admin: Caller) -> None:
    content = gzip.compress(json.dumps({"key": "heights"}).encode())

    response = admin.send("POST", "/projects", content=content, headers={"Content-Encoding": "gzip"})

    assert response.status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content-Encoding": "br"}, id="an encoding that is not read"),
        pytest.param({"Content-Encoding": "gzip"}, id="not gzip at all"),
        pytest.param({"Content-Type": "text/plain"}, id="a type that is not read"),
    ],
)
def test_an_unread_encoding_or_type_is_415(admin: Caller, headers: dict[str, str]) -> None:
    response = admin.send("POST", "/projects", content=b'{"key": "heights"}', headers=headers)

    assert response.status_code == 415
    assert response.json()["field"] == next(iter(headers))


def test_gzip_that_ends_too_early_is_415(admin: Caller) -> None:
    content = gzip.compress(json.dumps({"key": "heights", "name": "n" * 200}).encode())[:-12]

    response = admin.send("POST", "/projects", content=content, headers={"Content-Encoding": "gzip"})

    assert response.status_code == 415


def test_numbers_that_json_cannot_write_travel_by_name(admin: Caller) -> None:
    opened = admin.put("/projects/heights/runs/run-1", {"attempt_id": str(uuid4()), "config": {"lr": "NaN"}})

    assert admin.get(f"/runs/{opened['run_id']}")["config"] == {"lr": "NaN"}
