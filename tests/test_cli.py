"""The commands that end by themselves; `up`, `serve` and `worker` run as programs in tests/supervisor."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli import cli
from app.db.tokens import TokenRow, page
from app.domain.access import Role
from app.services.tokens import authenticate
from app.settings import Settings
from tests.services.world import World, a_project, a_world


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", *(f"TRUERUN_{field.upper()}" for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str, database_url: str) -> Result:
    return CliRunner().invoke(cli, arguments, env={"DATABASE_URL": database_url})


def create_token(*arguments: str, database_url: str) -> Result:
    return run("token", "create", *arguments, database_url=database_url)


def rows(world: World) -> list[TokenRow]:
    return world.run(lambda session: page(session, project_id=None, limit=10))


def test_a_new_token_opens_the_service_and_only_its_secret_is_on_standard_output(database_url: str) -> None:
    result = create_token("--role", "admin", "--label", "ana", database_url=database_url)

    assert result.exit_code == 0, result.output
    secret = result.stdout.removesuffix("\n")
    assert re.fullmatch(r"trn_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", secret)
    assert secret[:12] in result.stderr
    assert secret[13:] not in result.stderr
    with a_world(database_url) as world:
        actor = world.run(lambda session: authenticate(session, secret, now=datetime.now(UTC)))
        assert actor is not None
        assert (actor.role, actor.name) == (Role.ADMIN, f"ana (token {secret[:12]})")
        assert world.audit() == [("token.create", f"token {secret[:12]}")]
        assert world.audit_rows()[0].actor == "server"


def test_a_token_lasts_as_long_as_was_said(database_url: str) -> None:
    for days in ((), ("--days", "7")):
        create_token("--role", "admin", "--label", "ana", *days, database_url=database_url)

    with a_world(database_url) as world:
        expiring, lasting = rows(world)
    assert lasting.expires_at is None
    assert expiring.expires_at == expiring.created_at + timedelta(days=7)


def test_a_token_of_a_project_opens_that_project_only(database_url: str) -> None:
    with a_world(database_url) as world:
        project = a_project(world, "burgers")

        result = create_token(
            "--role", "reporter", "--label", "ci", "--project", "burgers", database_url=database_url
        )

        secret = result.stdout.strip()
        actor = world.run(lambda session: authenticate(session, secret, now=datetime.now(UTC)))
    assert actor is not None
    assert (actor.role, actor.project) == (Role.REPORTER, project.id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--role", "reporter", "--label", "ci"], "--project: an admin token belongs to no project"),
        (["--role", "viewer", "--label", "ci", "--project", "none"], "none"),
        (["--role", "admin", "--label", ""], "--label: "),
        (["--role", "run", "--label", "ci"], "'run' is not one of"),
        (["--role", "admin", "--label", "ci", "--days", "0"], "--days"),
        (["--label", "ci"], "Missing option '--role'"),
    ],
    ids=["role without project", "no such project", "empty label", "run", "no time", "no role"],
)
def test_a_token_that_makes_no_sense_is_refused_in_a_sentence(
    database_url: str, arguments: list[str], said: str
) -> None:
    result = create_token(*arguments, database_url=database_url)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    with a_world(database_url) as world:
        assert rows(world) == []


def test_a_database_without_the_schema_is_told_with_the_way_out(empty_database_url: str) -> None:
    result = create_token("--role", "admin", "--label", "ana", database_url=empty_database_url)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "run: truerun-server migrate" in result.stderr


def test_migrating_makes_the_database_fit_for_a_token_and_twice_does_no_harm(empty_database_url: str) -> None:
    results = [run("migrate", database_url=empty_database_url) for _ in range(2)]

    assert [result.exit_code for result in results] == [0, 0], results[0].output
    result = create_token("--role", "admin", "--label", "ana", database_url=empty_database_url)
    assert result.exit_code == 0, result.output
