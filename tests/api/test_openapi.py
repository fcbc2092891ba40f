"""The OpenAPI document: complete, with examples that work, and nothing it allows makes the service stumble."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from tests.api.calling import Caller, a_run, an_evaluation, row_counts

EXAMPLES = 10
METHODS = ("get", "put", "post", "patch", "delete")


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def test_every_write_route_has_an_example_and_every_route_documents_its_problems(admin: Caller) -> None:
    document = admin.get("/openapi.json")
    lacking = []

    for method, path, operation in operations(document):
        body = operation.get("requestBody")
        if body is not None and not any(
            _has_example(document, content) for content in body["content"].values()
        ):
            lacking.append((method, path, "example"))
        missing = {"401", "403", "404", "409", "422", "500", "503"} - operation["responses"].keys()
        if missing:
            lacking.append((method, path, missing))

    assert lacking == []


def _has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return "example" in content or "example" in schema


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as documented", "twisted"]
)
def test_no_request_made_from_the_document_ends_in_an_answer_that_is_not_documented(
    admin: Caller, mode: GenerationMode
) -> None:
    run_id = a_run(admin)
    an_evaluation(admin, run_id)
    document = admin.get("/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    asked: set[str] = set()

    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not list(operation.iter_parameters()) and not operation.body:
            continue
        documented = document["paths"][operation.path][operation.method]["responses"]
        _try_out(admin, operation, mode, documented)
        asked.add(operation.label)

    assert len(asked) > 20


def _try_out(admin: Caller, operation: Any, mode: GenerationMode, documented: dict[str, Any]) -> None:
    @seed(6)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = _send(admin, case)
        assert response.status_code < 500, (operation.label, response.text)
        assert str(response.status_code) in documented, (operation.label, response.status_code, response.text)
        if response.content:
            kind = response.headers["content-type"].partition(";")[0]
            assert kind in documented[str(response.status_code)]["content"], (operation.label, kind)

    ask()


def _send(admin: Caller, case: Any) -> httpx.Response:
    sent = case.as_transport_kwargs(base_url="http://truerun.test")
    headers = {
        key: value
        for key, value in dict(sent.get("headers") or {}).items()
        if key.lower() not in ("authorization", "x-schemathesis-testcaseid", "user-agent")
    }
    headers["Authorization"] = f"Bearer {admin.token}"
    content = sent.get("data")
    if "json" in sent:
        content = json.dumps(sent["json"])
        headers["Content-Type"] = "application/json"

    async def ask() -> httpx.Response:
        return await admin.client.request(
            sent["method"], sent["url"], params=sent.get("params"), headers=headers, content=content
        )

    return admin.portal.call(ask)


HOSTILE: list[Any] = [
    None,
    True,
    -1,
    2**63,
    1e308,
    "",
    "NaN",
    "x" * 5000,
    "<script>alert(1)</script>",
    "\u202eabc",
    [],
    {},
    [[[[]]]],
    {"a": {"b": [None, "Infinity"]}},
]


def test_hostile_values_in_every_field_of_every_write_route_are_a_4xx_or_kept_whole(admin: Caller) -> None:
    """Each field of each example is replaced by each hostile value: never a 5xx, and a 422 names a field."""
    run_id = a_run(admin)
    evaluation = an_evaluation(admin, run_id)
    alert_id = uuid4()
    document = admin.get("/openapi.json")
    names = {
        "project": "heights",
        "run_key": "run-1",
        "run_id": run_id,
        "evaluation_id": evaluation["evaluation"],
        "suite": "val",
        "alert_id": str(alert_id),
        "token_id": str(uuid4()),
        "stream_id": str(uuid4()),
        "delivery_id": "1",
        "name": "default",
    }
    tried = 0

    for method, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        example = _example(document, content)
        for field in example:
            for value in HOSTILE:
                response = admin.send(method.upper(), path.format(**names), {**example, field: value})
                tried += 1
                assert response.status_code < 500, (method, path, field, value, response.text)
                if response.status_code == 422:
                    problem = response.json()
                    assert problem["field"] or problem["detail"], (method, path, field, value, problem)

    assert tried > 300


def _example(document: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    example: dict[str, Any] = content.get("example") or schema["example"]
    return example


UNSTORABLE = {
    "NaN": "NaN",
    "minus infinity": "-Infinity",
    "1e400": "1e400",
    "NUL": '"a\\u0000b"',
    "a lone surrogate": '"\\ud800"',
    "400 levels": "[" * 400 + "]" * 400,
    "a key twice": '{"a": 1, "a": 2}',
    "10 MB": '"' + "x" * 10_000_000 + '"',
}


@pytest.mark.parametrize("content", UNSTORABLE.values(), ids=UNSTORABLE)
def test_every_write_route_refuses_what_cannot_be_stored_and_stores_nothing(
    admin: Caller, database_url: str, content: str
) -> None:
    """The hostile value takes the place of each example's first field; 2^63 is tried above, field by field."""
    run_id = a_run(admin)
    evaluation = an_evaluation(admin, run_id)
    names = {
        "project": "heights",
        "run_key": "run-1",
        "run_id": run_id,
        "evaluation_id": evaluation["evaluation"],
        "suite": "val",
        "alert_id": str(uuid4()),
        "token_id": str(uuid4()),
        "stream_id": str(uuid4()),
        "delivery_id": "1",
        "name": "default",
    }
    document = admin.get("/openapi.json")
    before = row_counts(database_url)
    tried = 0

    for method, path, operation in operations(document):
        described = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if described is None:
            continue
        example = _example(document, described)
        field = next(iter(example))
        body = json.dumps({**example, field: "@"}).replace('"@"', content)
        response = admin.send(method.upper(), path.format(**names), content=body)
        tried += 1
        expected = 413 if len(content) > 8 * 2**20 else 422
        assert response.status_code == expected, (method, path, response.text[:300])
        if expected == 422:
            assert (response.json()["field"] or "").startswith(field), (method, path, response.json())

    assert tried > 12
    assert row_counts(database_url) == before
