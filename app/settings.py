"""Every setting of the service; read by main, cli and migrations/env, and handed down from there as plain values."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.sinks import WANDB_CLOUD, base_urls, wandb_url_problem


def _libpq_address(url: str) -> str:
    """Accept the address as hosts hand it out; every part of the service speaks to Postgres through psycopg."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError("must be the address of a Postgres: postgresql://user:password@host:5432/database")
    return f"postgresql://{rest}"


def _host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, such as 127.0.0.1:8751")
    return address


def _base_urls(text: str) -> str:
    urls = base_urls(text)
    if not urls:
        raise ValueError("needs at least one address")
    for url in urls:
        if problem := wandb_url_problem(url):
            raise ValueError(f"{url!r} {problem}")
    return ",".join(urls)


def _public_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        raise ValueError("must be an address such as https://truerun.example.org")
    return url.rstrip("/")


def _networks(text: str) -> str:
    for part in filter(None, (each.strip() for each in text.split(","))):
        ipaddress.ip_network(part, strict=False)
    return text


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """Values come from the environment: TRUERUN_… for all but DATABASE_URL. An empty value counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix="TRUERUN_",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        # DATABASE_URL holds a password, which has no place in an error message.
        hide_input_in_errors=True,
    )

    database_url: Annotated[str, AfterValidator(_libpq_address)] | None = Field(
        default=None,
        # Whoever prints the settings must not print the password in it.
        repr=False,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="Address of a Postgres; without it the service runs one of its own.",
    )
    data_dir: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        default=None,
        description="Where the embedded Postgres keeps its data; by default below the user's data directory.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    port: int = Field(
        default=8750, ge=0, le=65535, description="Port that the service listens on; 0 takes any free one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are logged."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="`json` for machines that collect logs."
    )
    durability: Literal["required", "waived"] = Field(
        default="required",
        description="`waived` says that a power cut may lose what was acknowledged: for tests and trials only.",
    )
    database_connections: int = Field(
        default=20,
        ge=1,
        le=500,
        description="Connections that the API opens at most; so many requests are worked on at once.",
    )
    database_wait_seconds: float = Field(
        default=5.0,
        ge=0.0,
        le=60.0,
        description="How long a request waits for a free connection before a 503.",
    )
    statement_timeout_seconds: float = Field(
        default=30.0, gt=0, description="How long one statement of a request may run before a 503."
    )
    lock_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long a request waits for a lock of another one before a 503."
    )
    idle_transaction_seconds: float = Field(
        default=30.0, gt=0, description="How long a transaction may lie idle before Postgres ends it."
    )
    transaction_seconds: float = Field(
        default=60.0, gt=0, description="How long a whole transaction may take (Postgres 17 and newer)."
    )
    body_seconds: float = Field(
        default=60.0, gt=0, description="How long a client may take to send headers or body before a 408."
    )
    rate_limit_per_second: float = Field(
        default=100.0, ge=0, description="Requests a second of one token, in the long run; 0 is no limit."
    )
    rate_limit_burst: int = Field(
        default=400, ge=1, description="Requests of one token that may come at once after a pause."
    )
    rejected_tokens_per_minute: int = Field(
        default=60,
        ge=0,
        description="Requests of one address with a token that opens nothing before a 429; 0 is no limit.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses or networks, by commas, of the proxies whose X-Forwarded-For is believed.",
    )
    wandb_base_urls: Annotated[str, AfterValidator(_base_urls)] = Field(
        default=WANDB_CLOUD,
        description="Addresses, by commas, of the W&B servers that a sink may name: they are given the API key.",
    )
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        default=None,
        description="Address at which people reach this service, for links in what is mirrored and told.",
    )
    outgoing_networks: Annotated[str, AfterValidator(_networks)] | None = Field(
        default=None,
        description="Networks, by commas, besides public addresses, that notices may be sent to: `10.1.0.0/16`.",
    )
    outgoing_tls: bool = Field(
        default=True, description="Whether notices are sent over encrypted connections only."
    )
    mirror_dir: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        default=None,
        description="Where W&B jobs work and offline runs are kept; by default below the user's state directory.",
    )
    worker_metrics: Annotated[str, AfterValidator(_host_and_port)] | None = Field(
        default=None,
        description="`host:port` at which the worker answers Prometheus, without a token; not set: nowhere.",
    )
    stop_seconds: float = Field(
        default=7.0,
        ge=0,
        description="How long requests in hand may take once the API is told to stop; the process is gone 2 s later.",
    )
