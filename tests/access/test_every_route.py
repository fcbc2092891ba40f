"""Every route × every role, with one's own project's entities, another project's, and no token at all.

What must come out follows from the one table, `domain/access.ALLOWED`, and from the map below, which says what each
route does. A route that is missing from the map fails the test.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from app.domain.access import ALLOWED, Action, Role
from tests.api.calling import Caller, a_post, an_admin
from tests.api.recording import others, points, send
from tests.pictures import a_png

OPEN = "open to everybody"
SIGNED_IN = "any token"

# (method, path): what it does, the query and the body of a request that is well formed.
ROUTES: dict[tuple[str, str], tuple[Action | str, dict[str, Any] | None, Any]] = {
    ("GET", "/healthz"): (OPEN, None, None),
    ("GET", "/readyz"): (OPEN, None, None),
    ("GET", "/metrics"): (OPEN, None, None),
    ("GET", "/api/v1/me"): (SIGNED_IN, None, None),
    ("GET", "/api/v1/policy-templates/{name}"): (SIGNED_IN, None, None),
    ("GET", "/api/v1/policy-schema"): (SIGNED_IN, None, None),
    ("GET", "/api/v1/tokens"): (Action.TOKEN_READ, {"project": "{project}"}, None),
    ("POST", "/api/v1/tokens"): (
        Action.TOKEN_CREATE,
        None,
        {"project": "{project}", "role": "viewer", "label": "another"},
    ),
    ("DELETE", "/api/v1/tokens/{token_id}"): (Action.TOKEN_REVOKE, None, None),
    ("POST", "/api/v1/projects"): (Action.PROJECT_CREATE, None, {"key": "{new}"}),
    ("GET", "/api/v1/projects"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/audit"): (Action.AUDIT_READ, None, None),
    ("PUT", "/api/v1/projects/{project}/runs/{run_key}"): (
        Action.RUN_ATTACH,
        None,
        {"attempt_id": "{uuid}", "role": "attach"},
    ),
    ("GET", "/api/v1/projects/{project}/runs"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/runs.csv"): (Action.PROJECT_READ, {"suite": "val"}, None),
    ("POST", "/api/v1/projects/{project}/import/csv"): (
        Action.IMPORT,
        {"suite": "val"},
        "run_id,metric:mse\nimported-{uuid},0.2\n",
    ),
    ("GET", "/api/v1/runs/{run_id}"): (Action.PROJECT_READ, None, None),
    ("PATCH", "/api/v1/runs/{run_id}"): (Action.RUN_EDIT, None, {"notes": "seen"}),
    ("DELETE", "/api/v1/runs/{run_id}"): (Action.RUN_ARCHIVE, None, None),
    ("POST", "/api/v1/runs/{run_id}/invalidate"): (Action.VALIDITY_CHANGE, None, {"reason": "leak"}),
    ("POST", "/api/v1/runs/{run_id}/restore"): (Action.VALIDITY_CHANGE, None, {"reason": "no leak"}),
    ("PUT", "/api/v1/runs/{run_id}/evaluations/{evaluation_id}"): (Action.EVALUATION_POST, None, a_post()),
    ("GET", "/api/v1/runs/{run_id}/evaluations"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/evaluations/{evaluation_id}"): (Action.PROJECT_READ, None, None),
    ("POST", "/api/v1/evaluations/{evaluation_id}/invalidate"): (
        Action.VALIDITY_CHANGE,
        None,
        {"reason": "leak"},
    ),
    ("POST", "/api/v1/evaluations/{evaluation_id}/restore"): (
        Action.VALIDITY_CHANGE,
        None,
        {"reason": "no leak"},
    ),
    ("PUT", "/api/v1/projects/{project}/suites/{suite}"): (
        Action.SUITE_CHANGE,
        None,
        {"split": "{uuid}", "metrics": {"mse": "lower"}},
    ),
    ("GET", "/api/v1/projects/{project}/suites"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/suites/{suite}"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/policy"): (Action.PROJECT_READ, None, None),
    ("PUT", "/api/v1/projects/{project}/policy"): (Action.POLICY_CHANGE, None, {"rel_tol": 0.2}),
    ("POST", "/api/v1/projects/{project}/policy/preview"): (Action.POLICY_PREVIEW, None, {"rel_tol": 0.2}),
    ("GET", "/api/v1/projects/{project}/suites/{suite}/baseline"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/suites/{suite}/baseline/events"): (Action.PROJECT_READ, None, None),
    ("POST", "/api/v1/projects/{project}/suites/{suite}/baseline/events"): (
        Action.BASELINE_PROMOTE,
        None,
        {"kind": "bootstrap", "evaluation": "{evaluation_id}", "expected_version": 99, "reason": "first"},
    ),
    ("GET", "/api/v1/projects/{project}/suites/{suite}/leaderboard"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/compare"): (
        Action.PROJECT_READ,
        {"runs": "{run_key},{second_run}"},
        None,
    ),
    ("GET", "/api/v1/projects/{project}/alerts"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/projects/{project}/sinks"): (Action.SINK_READ, None, None),
    ("POST", "/api/v1/projects/{project}/sinks/{sink}/test"): (Action.SINK_TEST, None, None),
    ("PUT", "/api/v1/projects/{project}/sinks"): (
        Action.SINK_CHANGE,
        None,
        {"sinks": [{"name": "log", "kind": "log"}]},
    ),
    ("GET", "/api/v1/projects/{project}/deliveries"): (Action.SINK_READ, None, None),
    ("POST", "/api/v1/projects/{project}/deliveries/{delivery_id}/retry"): (
        Action.DELIVERY_RETRY,
        None,
        None,
    ),
    ("POST", "/api/v1/projects/{project}/deliveries/{delivery_id}/discard"): (
        Action.DELIVERY_DISCARD,
        None,
        {"reason": "nobody wants it"},
    ),
    ("GET", "/api/v1/projects/{project}/retention"): (Action.PROJECT_READ, None, None),
    ("PUT", "/api/v1/projects/{project}/retention"): (
        Action.RETENTION_CHANGE,
        None,
        {"resolved_alerts_days": 365},
    ),
    ("POST", "/api/v1/runs/{run_id}/streams/{stream_id}/records"): (
        Action.RECORDS_APPEND,
        None,
        {"first": 0, "count": 0},
    ),
    ("GET", "/api/v1/runs/{run_id}/metrics"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/history"): (Action.PROJECT_READ, {"metric": "loss"}, None),
    ("GET", "/api/v1/runs/{run_id}/live"): (
        Action.PROJECT_READ,
        {"metric": "loss", "for_seconds": "0"},
        None,
    ),
    ("GET", "/api/v1/runs/{run_id}/attempts"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/streams"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/events"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/stages"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/ttc"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/images"): (Action.PROJECT_READ, None, None),
    ("GET", "/api/v1/runs/{run_id}/images/{image_id}"): (Action.PROJECT_READ, None, None),
    ("POST", "/api/v1/runs/{run_id}/stop"): (Action.RUN_EDIT, None, {"stop": True}),
    ("PATCH", "/api/v1/alerts/{alert_id}"): (Action.ALERT_CHANGE, None, {"state": "acknowledged"}),
}
REFUSED = {401, 403, 404}


@dataclass(frozen=True)
class Entities:
    """One project's things, by the names that paths give them."""

    ids: dict[str, str]

    def filled(self, shape: Any) -> Any:
        """The shape with every {name} replaced; a new id for {uuid} and {new}."""
        if isinstance(shape, str):
            fresh = str(uuid4())
            return (
                shape.format(**{**self.ids, "uuid": fresh, "new": f"p-{fresh[:8]}"})
                if "{" in shape
                else shape
            )
        if isinstance(shape, dict):
            return {key: self.filled(value) for key, value in shape.items()}
        return [self.filled(value) for value in shape] if isinstance(shape, list) else shape


def make_entities(admin: Caller, project: str) -> Entities:
    admin.post("/projects", {"key": project})
    admin.put(
        f"/projects/{project}/policy", {"rule": [{"metric": "mse", "overall": True, "max": 0.01}]}
    )  # so that an alert opens
    run_id = admin.put(f"/projects/{project}/runs/run-1", {"attempt_id": str(uuid4())})["run_id"]
    admin.put(f"/projects/{project}/runs/run-0", {"attempt_id": str(uuid4())})
    evaluation_id = str(uuid4())
    admin.put(f"/runs/{run_id}/evaluations/{evaluation_id}", a_post())
    send(admin, run_id, points(loss=[1.0]))
    image = {"type": "image", "name": "field", "data": base64.b64encode(a_png()).decode()}
    send(admin, run_id, others(1, image))
    image_id = admin.get(f"/runs/{run_id}/images")["items"][0]["id"]
    token_id = admin.post("/tokens", {"project": project, "role": "viewer", "label": "spare"})["id"]
    alerts = admin.get(f"/projects/{project}/alerts")["items"]
    assert alerts, "the limit of this project must have opened an alert"
    deliveries = admin.get(f"/projects/{project}/deliveries")["items"]
    return Entities(
        {
            "project": project,
            "delivery_id": str(deliveries[0]["id"]),
            "sink": "log",
            "run_key": "run-1",
            "second_run": "run-0",
            "run_id": run_id,
            "evaluation_id": evaluation_id,
            "image_id": image_id,
            "suite": "val",
            "token_id": token_id,
            "stream_id": str(uuid4()),
            "alert_id": alerts[0]["id"],
            "name": "default",
        }
    )


def ask(caller: Caller, route: tuple[str, str], entities: Entities) -> int:
    method, path = route
    _, query, body = ROUTES[route]
    if (method, path) == ("PUT", "/api/v1/runs/{run_id}/evaluations/{evaluation_id}"):
        # Somebody else's evaluation id would be a conflict; a post brings its own.
        entities = Entities({**entities.ids, "evaluation_id": str(uuid4())})
    filled = entities.filled(body)
    if isinstance(filled, str):
        sent: dict[str, Any] = {"content": filled, "headers": {"Content-Type": "text/csv"}}
    else:
        sent = {"document": filled}
    response = caller.send(method, entities.filled(path), query=entities.filled(query), **sent)
    assert response.status_code < 500, (route, response.text)
    return response.status_code


@dataclass(frozen=True)
class Places:
    admin: Caller
    own: Entities
    other: Entities

    def caller(self, role: Role) -> Caller:
        if role is Role.ADMIN:
            return self.admin
        run = self.own.ids["run_id"] if role is Role.RUN else None
        return self.admin.as_role(role, self.own.ids["project"], run=run)


@pytest.fixture
def places(database_url: str) -> Iterator[Places]:
    with an_admin(database_url) as admin:
        yield Places(admin, make_entities(admin, "ours"), make_entities(admin, "theirs"))


def every_route(admin: Caller) -> set[tuple[str, str]]:
    paths = admin.get("/openapi.json")["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_the_map_knows_every_route(places: Places) -> None:
    assert every_route(places.admin) == set(ROUTES)


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_says_and_nothing_else(places: Places, role: Role) -> None:
    caller = places.caller(role)
    wrong = []

    for route, (action, _, _) in ROUTES.items():
        status = ask(caller, route, places.own)
        allowed = action in (OPEN, SIGNED_IN) or action in ALLOWED[role]
        if allowed and status in REFUSED:
            wrong.append((route, status, "is allowed and was refused"))
        if not allowed and status != 403:
            wrong.append((route, status, "is not allowed and was not 403"))

    assert wrong == []


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_another_projects_entities_do_not_exist_for_anybody_else(places: Places, role: Role) -> None:
    caller = places.caller(role)
    wrong = []

    for route in ROUTES:
        names_a_project = "{" in route[1] or "{project}" in str(ROUTES[route][1:])
        if not names_a_project or ROUTES[route][0] in (OPEN, SIGNED_IN):
            continue
        status = ask(caller, route, places.other)
        if status != 404:
            wrong.append((route, status))

    assert wrong == []


@pytest.mark.parametrize("token", [None, "trn_nobody00_" + "A" * 43, "", "Bearer", "\x80" * 20])
def test_without_a_token_that_opens_anything_there_is_nothing_but_health(
    places: Places, token: str | None
) -> None:
    nobody = places.admin.with_token(token)
    wrong = []

    for route, (action, _, _) in ROUTES.items():
        status = ask(nobody, route, places.own)
        if status != (200 if action == OPEN else 401):
            wrong.append((route, status))

    assert wrong == []


def test_a_run_token_appends_to_its_own_run_only(places: Places) -> None:
    caller = places.caller(Role.RUN)
    second = places.admin.put("/projects/ours/runs/run-2", {"attempt_id": str(uuid4())})["run_id"]

    posted = caller.send("PUT", f"/runs/{second}/evaluations/{uuid4()}", a_post())
    attached = caller.send("PUT", "/projects/ours/runs/run-2", {"attempt_id": str(uuid4()), "role": "attach"})

    assert (posted.status_code, attached.status_code) == (403, 403)
