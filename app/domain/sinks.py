"""Sinks: where verdicts go, as a project's maintainers say it.

Secrets never stand in settings: a sink names the environment variable that holds one, and only variables meant for
that can be named, so that nobody has the service send out what it needs for itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from app.domain.alerts import Level
from app.domain.documents import Reader, shown
from app.domain.notices import NoticeKind
from app.errors import InvalidInput, Problem

WANDB_CLOUD = "https://api.wandb.ai"
WANDB_KEY = "WANDB_API_KEY"
MAX_ROUTES = 50
MAX_NAMES = 100
_WEEK_MINUTES = 7 * 24 * 60

# Where each kind names its secret.
_SECRETS = {"wandb": "key_env", "apprise": "url_env", "webhook": "secret_env"}
_SECRET_ENV = re.compile(r"TRUERUN_SECRET_[A-Z0-9_]{1,100}")
# Without user:password@, which would be a secret in the settings.
_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[!-~]*)?")
_WANDB_PROJECT = re.compile(r"[^/\\#?%:\s](?:[^/\\#?%:\n\r\t]{0,126}[^/\\#?%:\s])?")
_ENTITY_AND_PROJECT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)/([A-Za-z0-9._-]+)")
_WANDB_ENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class SinkKind(StrEnum):
    LOG = "log"
    WANDB = "wandb"
    APPRISE = "apprise"
    WEBHOOK = "webhook"


class WandbMode(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The service's own log needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbSettings:
    """Where tables are mirrored to.

    Args:
        entity: None is the key's own.
        key_env: Name of the environment variable that holds the API key.
    """

    project: str
    entity: str | None = None
    mode: WandbMode = WandbMode.ONLINE
    base_url: str = WANDB_CLOUD
    key_env: str = WANDB_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which alerts somebody wants to hear of; an empty part wants all.

    Args:
        groups: Slices of the data that an alert's lines may be about.
    """

    levels: tuple[Level, ...] = ()
    kinds: tuple[NoticeKind, ...] = ()
    suites: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def matches(self, *, level: Level, kind: NoticeKind, suite: str | None, groups: Collection[str]) -> bool:
        """Whether an alert is wanted.

        Args:
            suite: None for an alert about a run's training, which no route that names suites wants.
            groups: The groups of the alert's lines; one that is wanted is enough.
        """
        return (
            (not self.levels or level in self.levels)
            and (not self.kinds or kind in self.kinds)
            and (not self.suites or suite in self.suites)
            and (not self.groups or not set(self.groups).isdisjoint(groups))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseSettings:
    """Whom to notify.

    Args:
        url_env: Name of the environment variable that holds the apprise URL, which is a secret.
        routes: An alert that one of them matches is sent; without any, every alert.
        cooldown_minutes: For how long the same alert is not sent again.
        digest_from: So many alerts at once are told in one message.
    """

    url_env: str
    routes: tuple[Route, ...] = ()
    cooldown_minutes: int = 60
    digest_from: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Whom to tell by HTTP.

    Args:
        secret_env: Name of the environment variable with whose value each request is signed.
        routes: As for apprise.
    """

    url: str
    secret_env: str
    routes: tuple[Route, ...] = ()


SinkSettings: TypeAlias = LogSettings | WandbSettings | AppriseSettings | WebhookSettings


def wanted_by(
    routes: Collection[Route], *, level: Level, kind: NoticeKind, suite: str | None, groups: Collection[str]
) -> bool:
    """Whether any of the routes wants the alert; no routes at all want every alert."""
    return not routes or any(
        route.matches(level=level, kind=kind, suite=suite, groups=groups) for route in routes
    )


def settings_from_document(
    kind: SinkKind, document: Mapping[str, Any], *, wandb_base_urls: Collection[str] = (WANDB_CLOUD,)
) -> SinkSettings:
    """Read a sink's settings; what is left out has its default.

    Args:
        wandb_base_urls: The servers that may be given a W&B key.

    Raises:
        InvalidInput: Every problem, its field as a dotted path (`routes.1.levels`).
    """
    problems: list[Problem] = []
    read = Reader(document, (), problems)
    settings: SinkSettings
    if kind is SinkKind.WANDB:
        settings = _read_wandb(read, wandb_base_urls)
    elif kind is SinkKind.APPRISE:
        settings = _read_apprise(read)
    elif kind is SinkKind.WEBHOOK:
        settings = _read_webhook(read)
    else:
        settings = LogSettings()
    read.refuse_unknown(settings_to_document(settings))
    if problems:
        raise InvalidInput(
            f"{problems[0].field}: {problems[0].message}", field=problems[0].field, problems=problems
        )
    return settings


def settings_to_document(settings: SinkSettings) -> dict[str, Any]:
    """Every setting by name, as JSON has it; `settings_from_document` reads it back."""
    document = asdict(settings)
    if "routes" in document:
        document["routes"] = [
            {part: list(wanted) for part, wanted in route.items()} for route in document["routes"]
        ]
    return document


def secret_env(kind: str, document: Mapping[str, Any]) -> str | None:
    """Name of the environment variable that a sink with these stored settings needs; None where it needs none."""
    if kind == SinkKind.WANDB and document.get("mode") != WandbMode.ONLINE:
        return None
    return document.get(_SECRETS.get(kind, ""))


def base_urls(text: str) -> tuple[str, ...]:
    """The addresses of a list by commas, as `WandbSettings.base_url` has them."""
    return tuple(url for part in text.split(",") if (url := part.strip().rstrip("/")))


def url_problem(url: str) -> str | None:
    """What is wrong with an address that secrets may be sent to; None when it is fine."""
    found = _URL.fullmatch(url)
    if found is None:
        return "must be an address such as https://host/path, without user and password"
    if found[3] and int(found[3][1:]) not in range(1, 65536):
        return f"has the port {found[3][1:]}; ports are 1 to 65535"
    if found[1] == "http" and not _is_loopback(found[2].strip("[]")):
        return "must be https, since secrets go there; plain http is for this very machine only"
    return None


def wandb_url_problem(url: str) -> str | None:
    """What is wrong with the address of a W&B server; None when it is fine."""
    found = _URL.fullmatch(url)
    host = found[2].lower() if found else ""
    if host.endswith("wandb.ai") and "api." not in host:
        # The W&B library refuses it too, message by message.
        return f"is where W&B shows its pages; its API is {WANDB_CLOUD}"
    return url_problem(url)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_wandb(read: Reader, base_urls: Collection[str]) -> WandbSettings:
    project = read.text("project", required=True)
    if project and (parts := _ENTITY_AND_PROJECT.fullmatch(project)):
        read.note("project", f"must not name the entity; say entity {parts[1]!r} and project {parts[2]!r}")
    elif project and (not _WANDB_PROJECT.fullmatch(project) or not project.strip(".")):
        read.note(
            "project",
            "must be 1 to 128 characters without / \\ # ? % : and surrounding white space, and not only dots",
        )
    entity = read.text("entity")
    if entity is not None and not _WANDB_ENTITY.fullmatch(entity):
        read.note("entity", "must be the name of a W&B user or team, or null for the key's own")
    base_url = (read.text("base_url") or WANDB_CLOUD).rstrip("/")
    if problem := wandb_url_problem(base_url):
        read.note("base_url", problem)
    elif base_url not in base_urls:
        read.note(
            "base_url",
            f"must be one of {', '.join(sorted(base_urls))}, not {shown(base_url)}; whoever runs the server allows "
            "others with TRUERUN_WANDB_BASE_URLS",
        )
    key_env = read.text("key_env") or WANDB_KEY
    if key_env != WANDB_KEY and not _SECRET_ENV.fullmatch(key_env):
        read.note(
            "key_env",
            f"must name the environment variable {WANDB_KEY} or TRUERUN_SECRET_… (A-Z 0-9 _), not {shown(key_env)}",
        )
    return WandbSettings(
        project=project or "",
        entity=entity,
        mode=WandbMode(read.one_of("mode", WandbMode, WandbMode.ONLINE)),
        base_url=base_url,
        key_env=key_env,
    )


def _read_apprise(read: Reader) -> AppriseSettings:
    return AppriseSettings(
        url_env=_read_secret_env(read, "url_env"),
        routes=_read_routes(read),
        cooldown_minutes=read.whole("cooldown_minutes", 60, at_least=0, at_most=_WEEK_MINUTES),
        digest_from=read.whole("digest_from", 5, at_least=2, at_most=1000),
    )


def _read_webhook(read: Reader) -> WebhookSettings:
    url = read.text("url", required=True) or ""
    if url and (problem := url_problem(url)):
        read.note("url", problem)
    return WebhookSettings(
        url=url, secret_env=_read_secret_env(read, "secret_env"), routes=_read_routes(read)
    )


def _read_secret_env(read: Reader, key: str) -> str:
    name = read.text(key, required=True) or ""
    if name and not _SECRET_ENV.fullmatch(name):
        read.note(key, f"must name an environment variable TRUERUN_SECRET_… (A-Z 0-9 _), not {shown(name)}")
    return name


def _read_routes(read: Reader) -> tuple[Route, ...]:
    routes = []
    for table in read.tables("routes", at_most=MAX_ROUTES):
        route = Route(
            levels=tuple(map(Level, table.words("levels", Level))),
            kinds=tuple(map(NoticeKind, table.words("kinds", NoticeKind))),
            suites=tuple(table.names("suites", at_most=MAX_NAMES)),
            groups=tuple(table.names("groups", at_most=MAX_NAMES)),
        )
        table.refuse_unknown(asdict(route))
        routes.append(route)
    return tuple(routes)
