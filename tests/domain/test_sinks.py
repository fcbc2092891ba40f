from __future__ import annotations

import json
from typing import Any

import pytest
import wandb

from app.domain.alerts import AlertKind, Level
from app.domain.sinks import (
    AppriseSettings,
    LogSettings,
    Route,
    SinkKind,
    SinkSettings,
    WandbMode,
    WandbSettings,
    WebhookSettings,
    base_urls,
    secret_env,
    settings_from_document,
    settings_to_document,
    url_problem,
    wandb_url_problem,
    wanted_by,
)
from app.errors import InvalidInput

ALERT: dict[str, Any] = {
    "level": Level.ERROR,
    "kind": AlertKind.REGRESSION,
    "suite": "heights",
    "groups": ["easy", "k=4,m=2"],
}


@pytest.mark.parametrize(
    ("kind", "document", "settings"),
    [
        pytest.param(SinkKind.LOG, {}, LogSettings(), id="log"),
        pytest.param(
            SinkKind.WANDB,
            {"project": "heights"},
            WandbSettings(
                project="heights",
                entity=None,
                mode=WandbMode.ONLINE,
                base_url="https://api.wandb.ai",
                key_env="WANDB_API_KEY",
            ),
            id="wandb by default",
        ),
        pytest.param(
            SinkKind.WANDB,
            {
                "project": "Heights of 2026",
                "entity": "team-a",
                "mode": "offline",
                "base_url": "https://api.wandb.ai/",
                "key_env": "TRUERUN_SECRET_TEAM_A",
            },
            WandbSettings(
                project="Heights of 2026",
                entity="team-a",
                mode=WandbMode.OFFLINE,
                key_env="TRUERUN_SECRET_TEAM_A",
            ),
            id="wandb in full",
        ),
        pytest.param(
            SinkKind.APPRISE,
            {
                "url_env": "TRUERUN_SECRET_CHAT",
                "routes": [{"levels": ["error"], "groups": ["easy", "easy"]}, {"suites": ["heights"]}],
                "cooldown_minutes": 0,
            },
            AppriseSettings(
                url_env="TRUERUN_SECRET_CHAT",
                routes=(Route(levels=(Level.ERROR,), groups=("easy",)), Route(suites=("heights",))),
                cooldown_minutes=0,
                digest_from=5,
            ),
            id="apprise",
        ),
        pytest.param(
            SinkKind.WEBHOOK,
            {"url": "http://127.0.0.1:9000/hook?a=b", "secret_env": "TRUERUN_SECRET_HOOK", "routes": None},
            WebhookSettings(url="http://127.0.0.1:9000/hook?a=b", secret_env="TRUERUN_SECRET_HOOK"),
            id="webhook",
        ),
    ],
)
def test_settings_are_read_and_written_as_json(
    kind: SinkKind, document: dict[str, Any], settings: SinkSettings
) -> None:
    assert settings_from_document(kind, document) == settings
    written = json.loads(json.dumps(settings_to_document(settings)))
    assert settings_from_document(kind, written) == settings


@pytest.mark.parametrize(
    ("kind", "document", "field", "message"),
    [
        pytest.param("log", {"a": 1}, "a", "unknown key 'a'; there are none", id="nothing to set"),
        pytest.param("wandb", {}, "project", "is needed", id="without what is needed"),
        pytest.param("wandb", {"project": "a/b c"}, "project", "without / ", id="not a W&B project"),
        pytest.param(
            "wandb", {"project": "p", "entity": "a b"}, "entity", "user or team", id="not an entity"
        ),
        pytest.param(
            "wandb", {"project": "p", "mode": "on"}, "mode", "one of online, offline, disabled", id="mode"
        ),
        pytest.param(
            "wandb",
            {"project": "p", "base_url": "https://evil.example"},
            "base_url",
            "_BASE_URLS",
            id="server",
        ),
        pytest.param(
            "wandb",
            {"project": "p", "base_url": "https://wandb.ai/"},
            "base_url",
            "its API is https://api.wandb.ai",
            id="W&B's pages",
        ),
        pytest.param(
            "wandb",
            {"project": "team-a/heights"},
            "project",
            "say entity 'team-a' and project 'heights'",
            id="entity and project in one",
        ),
        pytest.param("wandb", {"project": ".."}, "project", "not only dots", id="a name that no address has"),
        pytest.param("wandb", {"projct": "p"}, "projct", "did you mean project?", id="a misspelt key"),
        pytest.param(
            "wandb", {"project": "p", "key_env": "DATABASE_URL"}, "key_env", "TRUERUN_SECRET_", id="key"
        ),
        pytest.param(
            "apprise", {"url_env": "WANDB_API_KEY"}, "url_env", "TRUERUN_SECRET_", id="a key is no address"
        ),
        pytest.param("apprise", {"url_env": "TRUERUN_SECRET_a"}, "url_env", "A-Z 0-9 _", id="lower case"),
        pytest.param(
            "apprise",
            {"url_env": "TRUERUN_SECRET_A", "digest_from": 1},
            "digest_from",
            "from 2 to 1000",
            id="a digest of one",
        ),
        pytest.param(
            "apprise",
            {"url_env": "TRUERUN_SECRET_A", "cooldown_minutes": True},
            "cooldown_minutes",
            "whole number",
            id="true is no number",
        ),
        pytest.param(
            "webhook",
            {"url": "https://a", "secret_env": "TRUERUN_SECRET_A", "routes": [{}, {"levels": ["eror"]}]},
            "routes.1.levels.0",
            "one of info, warn, error",
            id="a level in a route",
        ),
        pytest.param(
            "webhook",
            {"url": "https://a", "secret_env": "TRUERUN_SECRET_A", "routes": [{"level": ["error"]}]},
            "routes.0.level",
            "did you mean levels?",
            id="a misspelt key of a route",
        ),
        pytest.param(
            "webhook",
            {"url": "https://a", "secret_env": "TRUERUN_SECRET_A", "routes": [7]},
            "routes.0",
            "must be an object",
            id="a route that is none",
        ),
        pytest.param(
            "webhook",
            {"url": "https://a", "secret_env": "TRUERUN_SECRET_A", "routes": [{"groups": ["a\nb"]}]},
            "routes.0.groups.0",
            "printable",
            id="a group that nothing can have",
        ),
        pytest.param(
            "webhook",
            {"url": "https://a", "secret_env": "TRUERUN_SECRET_A", "routes": [{}] * 51},
            "routes",
            "at most 50",
            id="too many routes",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_field_and_the_way_out(
    kind: str, document: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_from_document(SinkKind(kind), document)

    found = {problem.field: problem.message for problem in caught.value.problems}
    assert message in found[field]


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_from_document(SinkKind.WANDB, {"mode": 7, "key_env": "HOME", "x": None})

    assert [problem.field for problem in caught.value.problems] == ["project", "key_env", "mode", "x"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://hooks.example.org/a/b?c=d", None),
        ("https://[2001:db8::1]:8443/x", None),
        ("http://localhost:9000", None),
        ("http://127.8.0.1/", None),
        ("http://[::1]:80/", None),
        ("http://hooks.example.org/", "must be https"),
        ("http://127.0.0.1.example.org/", "must be https"),
        ("https://ana:secret@hooks.example.org/", "without user and password"),
        ("ftp://hooks.example.org/", "must be an address"),
        ("https://a b/", "must be an address"),
        ("https://a/\r\nHost: b", "must be an address"),
        ("https://a:70000/", "port 70000"),
        ("", "must be an address"),
    ],
)
def test_secrets_leave_the_machine_only_by_https(url: str, problem: str | None) -> None:
    found = url_problem(url)

    assert found is None if problem is None else problem in (found or "")


@pytest.mark.parametrize(
    ("route", "is_wanted"),
    [
        pytest.param(Route(), True, id="an empty route wants all"),
        pytest.param(Route(levels=(Level.WARN, Level.ERROR)), True, id="level"),
        pytest.param(Route(levels=(Level.WARN,)), False, id="another level"),
        pytest.param(Route(kinds=(AlertKind.REGRESSION,)), True, id="kind"),
        pytest.param(Route(kinds=(AlertKind.LIMIT,)), False, id="another kind"),
        pytest.param(Route(suites=("heights",)), True, id="suite"),
        pytest.param(Route(suites=("widths",)), False, id="another suite"),
        pytest.param(Route(groups=("hard", "easy")), True, id="one of the groups"),
        pytest.param(Route(groups=("hard",)), False, id="none of the groups"),
        pytest.param(Route(levels=(Level.ERROR,), suites=("widths",)), False, id="every part must fit"),
    ],
)
def test_a_route_wants_what_fits_all_its_parts(route: Route, is_wanted: bool) -> None:
    assert route.matches(**ALERT) is is_wanted


def test_an_alert_about_a_training_belongs_to_no_suite_and_no_group() -> None:
    training: dict[str, Any] = ALERT | {"suite": None, "groups": []}

    assert Route().matches(**training)
    assert not Route(suites=("heights",)).matches(**training)
    assert not Route(groups=("easy",)).matches(**training)


def test_one_route_that_fits_is_enough_and_none_at_all_want_everything() -> None:
    other = Route(suites=("widths",))

    assert wanted_by((), **ALERT)
    assert wanted_by((other, Route(suites=("heights",))), **ALERT)
    assert not wanted_by((other,), **ALERT)


def test_the_variable_that_a_sink_needs_is_known() -> None:
    def needed(settings: SinkSettings, kind: SinkKind) -> str | None:
        return secret_env(kind, settings_to_document(settings))

    offline = WandbSettings(project="p", mode=WandbMode.OFFLINE)
    assert needed(LogSettings(), SinkKind.LOG) is None
    assert needed(WandbSettings(project="p"), SinkKind.WANDB) == "WANDB_API_KEY"
    assert needed(offline, SinkKind.WANDB) is None
    assert needed(AppriseSettings(url_env="TRUERUN_SECRET_A"), SinkKind.APPRISE) == "TRUERUN_SECRET_A"
    hook = WebhookSettings(url="https://a", secret_env="TRUERUN_SECRET_B")
    assert needed(hook, SinkKind.WEBHOOK) == "TRUERUN_SECRET_B"


def test_another_wandb_server_is_allowed_by_whoever_runs_this_one() -> None:
    allowed = base_urls(" https://api.wandb.ai, https://wandb.example.org/ ,")

    settings = settings_from_document(
        SinkKind.WANDB,
        {"project": "p", "base_url": "https://wandb.example.org"},
        wandb_base_urls=allowed,
    )

    assert allowed == ("https://api.wandb.ai", "https://wandb.example.org")
    assert settings == WandbSettings(project="p", base_url="https://wandb.example.org")


WANDB_URLS = {
    "https://api.wandb.ai": True,
    "https://wandb.ai": False,
    "https://app.wandb.ai": False,
    "https://team.wandb.ai": False,
    "https://api.team.wandb.ai": True,
    "https://team.wandb.io": True,
    "https://wandb.example.org/path": True,
    "http://127.0.0.1:8080": True,
}


@pytest.mark.parametrize(("url", "is_fine"), WANDB_URLS.items(), ids=WANDB_URLS)
def test_the_address_of_a_wandb_server_is_one_that_the_library_takes(url: str, is_fine: bool) -> None:
    try:
        wandb.Settings(base_url=url)
    except ValueError:
        taken = False
    else:
        taken = True

    assert (wandb_url_problem(url) is None, taken) == (is_fine, is_fine)


@pytest.mark.parametrize("project", ["heights", "Heights of 2026", "höhen", "a.b_c-d", "p" * 128])
def test_a_project_that_may_be_set_is_one_that_the_library_takes(project: str) -> None:
    settings_from_document(SinkKind.WANDB, {"project": project})

    assert wandb.Settings(project=project).project == project
