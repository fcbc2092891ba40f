"""One request, one transaction, and problem details for everything else."""

from __future__ import annotations

from importlib.metadata import version
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.db import make_engine
from app.main import create_app
from app.settings import Settings
from tests.api.calling import Caller, a_caller, a_post, a_run, an_evaluation, row_counts


def execute(database_url: str, statement: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_a_commit_that_fails_answers_500_and_stores_nothing(admin: Caller, database_url: str) -> None:
    run_id = a_run(admin)
    # A deferred trigger runs inside COMMIT: everything before it has succeeded.
    execute(
        database_url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not at commit'; END $$",
    )
    execute(
        database_url,
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON evaluation DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    before = row_counts(database_url)

    response = admin.send("PUT", f"/runs/{run_id}/evaluations/{uuid4()}", a_post())

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert row_counts(database_url) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nowhere", 404),
        ("POST", "/api/v1/me", 405),
        ("GET", "/api/v1/runs/00000000-0000-4000-8000-000000000001", 404),
        ("GET", "/api/v1/runs/not-a-uuid", 422),
        ("GET", "/api/v1/projects?cursor=nonsense", 422),
        ("GET", "/api/v1/projects?cursor=WzEsMiwzXQ==", 422),
        ("GET", "/api/v1/projects?limit=0", 422),
        ("GET", "/api/v1/projects/a%2Fb", 404),
        ("GET", "/api/v1/projects/a%00b", 404),
    ],
)
def test_every_refusal_is_problem_details(admin: Caller, method: str, path: str, status: int) -> None:
    response = admin.send(method, path)

    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


def test_pages_are_cut_at_the_limit_and_the_cursor_goes_on_without_gap_or_repeat(admin: Caller) -> None:
    for i in range(7):
        admin.post("/projects", {"key": f"p{i}"})

    keys: list[str] = []
    cursor = None
    while True:
        page = admin.get("/projects", query={"limit": 3, **({"cursor": cursor} if cursor else {})})
        keys += [item["key"] for item in page["items"]]
        assert len(page["items"]) <= 3
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert keys == [f"p{i}" for i in range(7)]


def test_a_retry_is_200_with_the_same_verdict_and_other_content_is_409(admin: Caller) -> None:
    run_id = a_run(admin)
    path = f"/runs/{run_id}/evaluations/{uuid4()}"

    first = admin.send("PUT", path, a_post())
    again = admin.send("PUT", path, a_post())
    other = admin.send("PUT", path, a_post({"a": 0.3}))

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json() == first.json()
    assert "use a new id" in other.json()["detail"]


def test_non_finite_numbers_are_kept_and_travel_by_name(admin: Caller) -> None:
    verdict = an_evaluation(admin, a_run(admin), {"a": "NaN", "b": "-Infinity", "c": 0.5})  # type: ignore[dict-item]

    shown = admin.get(f"/evaluations/{verdict['evaluation']}")

    assert {value["group"]: value["value"] for value in shown["values"]} == {
        "a": "NaN",
        "b": "-Infinity",
        "c": 0.5,
    }
    assert shown["gate"] != "open"


def test_an_unknown_metric_is_asked_for_with_the_line_that_helps(admin: Caller) -> None:
    body = a_post()
    body["metrics"] = None
    body["values"][0]["metric"] = "my_err"

    response = admin.send("PUT", f"/runs/{a_run(admin)}/evaluations/{uuid4()}", body)

    assert response.status_code == 422
    assert 'metrics={"my_err": "lower"}' in response.text.replace("\\", "")


def test_health_ready_and_metrics_are_open_to_this_machine(admin: Caller) -> None:
    nobody = admin.with_token(None)
    an_evaluation(admin, a_run(admin))

    metrics = nobody.send("GET", "/metrics")

    assert nobody.get("/healthz") == {"status": "ok"}
    assert nobody.get("/readyz")["status"] == "ready"
    assert metrics.status_code == 200
    assert "truerun_outbox_owed" in metrics.text
    assert "truerun_http_requests_total" in metrics.text
    assert nobody.send("GET", "/metrics", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 401


def test_each_stored_verdict_is_counted_once_by_its_gate(admin: Caller) -> None:
    run_id = a_run(admin)
    path = f"/runs/{run_id}/evaluations/{uuid4()}"
    for body in (a_post(), a_post(), a_post({"a": 0.3})):
        admin.send("PUT", path, body)
    an_evaluation(admin, run_id)

    metrics = admin.with_token(None).send("GET", "/metrics").text

    assert 'truerun_verdicts_total{gate="undecided"} 2.0' in metrics
    assert f'truerun_build_info{{version="{version("truerun-server")}"}} 1.0' in metrics
    assert "truerun_database_up 1.0" in metrics


def test_metrics_tell_of_the_process_when_the_database_is_away() -> None:
    settings = Settings(database_url="postgresql://ana@127.0.0.1:1/truerun", durability="waived")
    with a_caller(create_app(settings)) as nobody:
        metrics = nobody.send("GET", "/metrics")
        from_afar = nobody.send("GET", "/metrics", headers={"X-Forwarded-For": "1.2.3.4"})

    assert metrics.status_code == 200
    assert "truerun_database_up 0.0" in metrics.text
    assert "truerun_outbox_owed NaN" in metrics.text
    assert from_afar.status_code == 401


def test_any_method_and_any_path_make_no_new_name_in_the_metrics(admin: Caller) -> None:
    for number in range(5):
        admin.send(f"METHOD{number}", f"/nowhere/{number}")

    metrics = admin.with_token(None).send("GET", "/metrics").text

    assert 'truerun_http_requests_total{method="(other)",route="(none)",status="404"} 5.0' in metrics
    assert "METHOD" not in metrics


def test_a_database_behind_this_release_is_not_ready(admin: Caller, database_url: str) -> None:
    execute(database_url, "DELETE FROM alembic_version")

    response = admin.send("GET", "/readyz")

    assert response.status_code == 503
    assert "truerun-server migrate" in response.text


def test_a_policy_in_toml_is_put_shown_and_its_mistakes_name_the_line(admin: Caller) -> None:
    admin.post("/projects", {"key": "heights"})
    toml = {"Content-Type": "application/toml"}
    good = 'rel_tol = 0.2\n\n[[rule]]\nmetric = "mse"\noverall = true\nmax = 0.3\n'

    put = admin.send("PUT", "/projects/heights/policy", content=good, headers=toml)
    bad = admin.send("PUT", "/projects/heights/policy", content=good + "maxx = 1\n", headers=toml)
    shown = admin.send("GET", "/projects/heights/policy", query={"format": "toml"})

    assert put.status_code == 200, put.text
    assert put.json()["policy"]["rel_tol"] == 0.2
    assert bad.status_code == 422
    assert "line 7" in bad.text
    assert "max = 0.3" in shown.text


def test_an_invalid_runs_verdict_reads_closed_with_the_reason_until_it_is_restored(admin: Caller) -> None:
    run_id = a_run(admin)
    first = an_evaluation(admin, run_id)
    path = f"/evaluations/{first['evaluation']}"

    marked = admin.post(f"/runs/{run_id}/invalidate", {"reason": "leaked rows"})
    closed = admin.get(path)
    admin.post(f"/runs/{run_id}/restore", {"reason": "false alarm"})
    again = admin.get(path)

    assert (marked["validity"], marked["validity_reason"]) == ("invalid", "leaked rows")
    assert (first["gate"], closed["gate"], again["gate"]) == ("undecided", "closed", "undecided")
    assert "leaked rows" in closed["sentence"]


def test_an_invalid_evaluation_closes_its_own_gate_only(admin: Caller) -> None:
    run_id = a_run(admin)
    first, second = an_evaluation(admin, run_id, step=1), an_evaluation(admin, run_id, step=2)

    marked = admin.post(f"/evaluations/{second['evaluation']}/invalidate", {"reason": "wrong file"})

    assert (marked["gate"], marked["validity"]) == ("closed", "invalid")
    assert admin.get(f"/evaluations/{first['evaluation']}")["gate"] == "undecided"
    assert [item["is_latest"] for item in admin.get(f"/runs/{run_id}/evaluations")["items"]] == [False, True]
