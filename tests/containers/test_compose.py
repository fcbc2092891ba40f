"""docker-compose.yml against the schema of the Compose Specification, and against the service it starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from typer.main import get_command

from app.cli import cli
from app.settings import Settings
from tests.docs.pages import blocks, commands

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SCHEMA = json.loads((Path(__file__).parent / "compose_spec" / "compose-spec.json").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "api", "worker")
# What libpq reads besides the address; https://www.postgresql.org/docs/18/libpq-envars.html
LIBPQ = {"PGPASSWORD"}
# `$$` is a dollar; of the forms with a value or a message after the name all are one variable.
VARIABLE = re.compile(r"(?<!\$)\$(?:\{(\w+)([^}]*)\}|(\w+))")


def variables(text: str) -> dict[str, set[str]]:
    """What is put in from the environment: name to the forms in which it is asked for (`:-value`, `:?message`, …)."""
    found: dict[str, set[str]] = {}
    for braced, form, bare in VARIABLE.findall(text):
        found.setdefault(braced or bare, set()).add(form)
    return found


def code(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_it_holds_to_the_compose_specification() -> None:
    errors = [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}"
        for error in jsonschema_rs.validator_for(SCHEMA).iter_errors(COMPOSE)
    ]

    assert errors == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": {"api": {"image": "x", "restart_policy": "always"}}},
        {"services": {"api": {"depends_on": {"db": {"condition": "service_ready"}}}}},
        {"services": {"api": {"healthcheck": {"command": ["true"]}}}},
    ],
    ids=["unknown key", "unknown condition", "misspelt healthcheck"],
)
def test_the_schema_would_notice(wrong: dict[str, Any]) -> None:
    assert not jsonschema_rs.validator_for(SCHEMA).is_valid(wrong)


def test_every_variable_is_explained_in_the_example_and_none_else() -> None:
    example = (ROOT / ".env.example").read_text()
    explained = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))

    assert set(variables(code(TEXT))) == explained


def test_the_examples_defaults_are_those_of_the_file() -> None:
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))

    for name, forms in variables(code(TEXT)).items():
        for form in forms:
            assert form == f":-{shown[name]}" if shown[name] else form.startswith(":?")


def test_the_password_has_no_default_and_nothing_starts_without_it() -> None:
    secret = [name for name in variables(code(TEXT)) if re.search("PASSWORD|TOKEN|SECRET|KEY", name)]

    assert secret == ["POSTGRES_PASSWORD"]
    assert {form[:2] for form in variables(code(TEXT))["POSTGRES_PASSWORD"]} == {":?"}


def test_no_secret_is_written_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|KEY", variable):
                assert value.startswith("${"), (name, variable)
    # user:password@ in an address.
    assert not re.search(r"://[^/\s@]*:[^/\s@]*@", TEXT)


@pytest.mark.parametrize("name", OURS)
def test_what_our_containers_are_told_is_a_setting_of_the_service(name: str) -> None:
    known = {f"TRUERUN_{field.upper()}" for field in Settings.model_fields} | {"DATABASE_URL"} | LIBPQ

    assert set(SERVICES[name]["environment"]) <= known


def test_the_address_of_the_database_is_one_that_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["api"]["environment"].items():
        if "$" not in value:
            monkeypatch.setenv(name, value)
    of_postgres = SERVICES["postgres"]["environment"]

    url = Settings().database_url

    assert url == f"postgresql://{of_postgres['POSTGRES_USER']}@postgres:5432/{of_postgres['POSTGRES_DB']}"


def test_ours_and_postgres_are_told_the_same_password() -> None:
    assert {SERVICES[name]["environment"]["PGPASSWORD"] for name in OURS} == {
        SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
    }


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_runs_a_command_of_the_image(name: str) -> None:
    assert len(SERVICES[name]["command"]) == 1
    assert set(SERVICES[name]["command"]) <= set(get_command(cli).commands)  # type: ignore[attr-defined]
    assert (ROOT / SERVICES[name]["build"] / "Dockerfile").is_file()
    assert SERVICES[name]["image"] == SERVICES["api"]["image"]


def test_nothing_starts_before_what_it_needs() -> None:
    conditions = {
        name: {needed: each["condition"] for needed, each in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }

    assert conditions == {
        "postgres": {},
        "migrate": {"postgres": "service_healthy"},
        "api": {"migrate": "service_completed_successfully"},
        "worker": {"migrate": "service_completed_successfully"},
    }
    # Waiting for what ends needs something that ends; waiting for health needs somebody who asks.
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["postgres"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]


def test_the_database_is_reached_by_the_other_containers_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["${TRUERUN_PUBLISH:-127.0.0.1:8750}:8750"]}


def test_the_data_lies_where_postgres_18_keeps_it_on_a_named_volume() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"] == ["postgres-data:/var/lib/postgresql"]
    assert set(COMPOSE["volumes"]) == {"postgres-data"}


@pytest.mark.parametrize("name", OURS)
def test_ours_can_write_nothing_and_gain_no_right(name: str) -> None:
    service = SERVICES[name]

    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert "privileged" not in service
    assert "user" not in service


def test_nobody_is_killed_while_finishing_its_work() -> None:
    # The process is gone 2 s after the time that requests in hand get. Twice that on a busy machine.
    needed = 2 * (Settings.model_fields["stop_seconds"].default + 2)
    assert {seconds(SERVICES[name]["stop_grace_period"]) >= needed for name in ("api", "worker")} == {True}
    assert seconds(SERVICES["postgres"]["stop_grace_period"]) >= 60


def test_what_runs_for_long_comes_back_and_its_log_cannot_fill_the_disk() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the page asks for openssl")
def test_the_pages_first_commands_make_an_environment_that_has_a_password(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    first = [command for command, _ in commands(blocks("docs/deploy.md")[0].text) if "docker" not in command][
        :2
    ]

    subprocess.run(["bash", "-c", " && ".join(first)], cwd=tmp_path, check=True)

    example = (ROOT / ".env.example").read_text()
    made = (tmp_path / ".env").read_text()
    password = re.findall(r"^POSTGRES_PASSWORD=([0-9a-f]{48})$", made, re.MULTILINE)
    assert len(password) == 1
    assert made.replace(password[0], "") == example


def test_the_page_names_services_and_commands_that_exist() -> None:
    typed = [
        line for block in blocks("docs/deploy.md") if block.kind == "sh" for line, _ in commands(block.text)
    ]
    addressed = [re.match(r"docker compose (?:exec|run) (?:-T |--rm )*(\S+)", line) for line in typed]
    ours = [re.search(r"truerun-server ([a-z]+)", line) for line in typed]

    assert {found[1] for found in addressed if found} == {"api", "migrate", "postgres"}
    named = {found[1] for found in ours if found}
    assert named == {"token", "migrate", "serve", "worker"}
    assert named <= set(get_command(cli).commands)  # type: ignore[attr-defined]
