"""Every setting of the service; read by main, cli and migrations/env, and handed down from there as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _libpq_address(url: str) -> str:
    """Accept the address as hosts hand it out; every part of the service speaks to Postgres through psycopg."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError("must be the address of a Postgres: postgresql://user:password@host:5432/database")
    return f"postgresql://{rest}"


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
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = Field(
        default="console", description="`json` for machines that collect logs."
    )
