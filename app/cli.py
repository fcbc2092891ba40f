"""truerun-server: the service on the command line."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from app import demo as walk_through
from app import logs
from app.db import backups
from app.db import migrate as migrations
from app.domain.access import Role
from app.embedded import EmbeddedPostgresError
from app.errors import TruerunError
from app.settings import Settings
from app.supervisor import (
    RunningService,
    ServiceFailed,
    database,
    end_with_parent,
    new_token,
    running_service,
)

cli = typer.Typer(
    name="truerun-server",
    help="Truerun decides whether a training run's result is true. Settings come from the environment: see the guide.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with the values of variables would print secrets.
    pretty_exceptions_enable=False,
)
token = typer.Typer(help="Credentials, made by whoever runs the server.", no_args_is_help=True)
cli.add_typer(token, name="token")

_OF_THE_SURROUNDINGS = (
    ServiceFailed,
    EmbeddedPostgresError,
    migrations.DatabaseUnavailable,
    migrations.MigrationFailed,
    backups.BackupFailed,
    OSError,
)

Lifeline = Annotated[
    int | None, typer.Option(hidden=True, help="Pipe whose end means that the parent is gone.")
]


@cli.command()
def up() -> None:
    """Start the service on this machine: its own Postgres (unless DATABASE_URL is set), API and worker."""
    settings = _settings()
    with _told_in_a_sentence(), running_service(settings) as service:
        _announce(service, wanted_port=settings.port)
        try:
            service.keep_serving()
        except KeyboardInterrupt:
            typer.echo("\nStopping …")


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def demo(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="To run beside the service instead; it finds address and token."),
    ] = None,
) -> None:
    """As `up`, and walk through a real regression that every average hid."""
    settings = _settings()
    if "log_level" not in settings.model_fields_set:
        # Lines of the log would stand between the tables.
        settings = settings.model_copy(update={"log_level": "warning"})
    with _told_in_a_sentence(), running_service(settings) as service:
        try:
            walk_through.show(service, command)
            typer.echo()
            _announce(service, wanted_port=settings.port)
            service.keep_serving()
        except KeyboardInterrupt:
            typer.echo("\nStopping …")


@cli.command()
def serve(
    lifeline: Lifeline = None,
    bound_socket: Annotated[
        int | None, typer.Option("--socket", hidden=True, help="Bound socket to serve on.")
    ] = None,
) -> None:
    """Serve the API and the pages; the schema must be there (`truerun-server migrate`)."""
    from app.api import serving

    with _told_in_a_sentence(), _ended_by_signal(lifeline), database(_settings()) as settings:
        logs.configure(level=settings.log_level, style=settings.log_format)
        # The application is made by its factory, which reads the settings from the environment.
        os.environ["DATABASE_URL"] = settings.database_url or ""
        serving.serve(
            "app.main:create_app",
            host=settings.host,
            port=settings.port,
            bound=socket.socket(fileno=bound_socket) if bound_socket is not None else None,
            trusted_proxies=settings.trusted_proxies,
            head_seconds=settings.body_seconds,
            stop_seconds=settings.stop_seconds,
        )


@cli.command()
def worker(lifeline: Lifeline = None) -> None:
    """Deliver what is owed to W&B and chat, and keep the books: stale runs, expired things."""
    with _told_in_a_sentence(), _ended_by_signal(lifeline), database(_settings()) as settings:
        from app.domain.sinks import base_urls
        from app.worker.known_sinks import Reach, known_sinks, usual_mirror_dir
        from app.worker.main import run

        logs.configure(level=settings.log_level, style=settings.log_format)
        reach = Reach(
            address=settings.public_url,
            outgoing_networks=settings.outgoing_networks or "",
            needs_tls=settings.outgoing_tls,
            wandb_base_urls=frozenset(base_urls(settings.wandb_base_urls)),
            mirror_dir=settings.mirror_dir or usual_mirror_dir(),
        )
        run(
            settings.database_url or "",
            sinks=known_sinks(reach),
            metrics_address=settings.worker_metrics,
        )


@cli.command()
def migrate(
    wait: Annotated[
        float, typer.Option(min=0, help="For how many seconds a migration that is blocked is tried again.")
    ] = 0.0,
) -> None:
    """Bring the database to the schema of this release."""
    with _told_in_a_sentence(), database(_settings()) as settings:
        migrations.upgrade(settings.database_url or "", wait_seconds=wait)
        typer.echo("The database has the schema of this release.")


class GivenRole(StrEnum):
    """What a token may be made for here; the token of a single run comes from opening the run."""

    VIEWER = Role.VIEWER
    REPORTER = Role.REPORTER
    MAINTAINER = Role.MAINTAINER
    ADMIN = Role.ADMIN


@token.command("create")
def create_token(
    role: Annotated[GivenRole, typer.Option(help="What it may do.")],
    label: Annotated[str, typer.Option(help="Who or what it is for; shown wherever it was used.")],
    project: Annotated[
        str | None, typer.Option(help="Key of its project; every role but admin needs one.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="After how many days it expires; else never.")
    ] = None,
) -> None:
    """Make a token and print its secret, which is kept nowhere; only the secret goes to standard output."""
    with _told_in_a_sentence(), database(_settings()) as settings:
        try:
            row, secret = new_token(
                settings.database_url or "",
                project=project,
                role=Role(role),
                label=label,
                lifetime=None if days is None else timedelta(days=days),
            )
        except TruerunError as error:
            typer.echo(f"truerun-server: {f'--{error.field}: ' if error.field else ''}{error}", err=True)
            raise typer.Exit(2) from None
    typer.echo(secret)
    typer.echo(f"Token {row.prefix}, role {row.role}: this is the only time its secret is shown.", err=True)


@cli.command()
def backup(
    file: Annotated[
        Path, typer.Argument(help="File to write, which must not exist; - for the standard output.")
    ],
) -> None:
    """Write everything that the service knows into one file, while it goes on working."""
    with _told_in_a_sentence(), _all_or_nothing(), database(_settings()) as settings:
        with backups.writing(file) as target:
            written = backups.dump(settings.database_url or "", target, now=datetime.now(UTC), say=_say_aside)
        _say_aside(f"{written.rows:,} rows of schema {written.header.schema} are in {_named(file)}.")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote; - for the standard input.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only read the file to its end and say whether it is whole.")
    ] = False,
) -> None:
    """Put a backup into an empty database: all of it or nothing."""
    with _told_in_a_sentence(), _all_or_nothing(), backups.reading(file) as source:
        if check:
            held = backups.check(source)
            _say_aside(
                f"{_named(file)} is whole: {held.rows:,} rows of schema {held.header.schema}, written by release "
                f"{held.header.release} at {held.header.made_at}."
            )
            return
        with database(_settings()) as settings:
            held = backups.load(settings.database_url or "", source, say=_say_aside)
        _say_aside(f"{held.rows:,} rows are restored, as they were at {held.header.made_at}.")


@cli.command()
def purge(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go; change nothing.")
    ] = False,
) -> None:
    """Remove now what has outlived its project's retention, as the worker does by and by."""
    from app.worker.tidying import purge_now, would_purge

    with _told_in_a_sentence(), database(_settings()) as settings:
        if dry_run:
            for line in would_purge(settings.database_url or ""):
                typer.echo(line)
            return
        for line in purge_now(settings.database_url or ""):
            typer.echo(line)


def main() -> None:
    cli()


def _announce(service: RunningService, *, wanted_port: int) -> None:
    typer.echo(f"Truerun serves at {service.url}")
    typer.echo(
        f"Its address and an admin token are in {service.local_file}; `truerun` on this machine finds them."
    )
    if wanted_port not in (0, int(service.url.rpartition(":")[2])):
        typer.echo(f"(Port {wanted_port} was taken.)")
    typer.echo("Stop it with Ctrl-C.")
    sys.stdout.flush()


def _say_aside(line: str) -> None:
    # The standard output may be the backup itself.
    typer.echo(line, err=True)


def _named(file: Path) -> str:
    return "the backup" if file == Path("-") else str(file)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            variable = name if name.isupper() else f"TRUERUN_{name.upper()}"
            typer.echo(f"{variable}: {problem['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    """Print what went wrong with the surroundings as a sentence; what is wrong with us stays a traceback."""
    try:
        yield
    except _OF_THE_SURROUNDINGS as error:
        typer.echo(f"truerun-server: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@contextmanager
def _ended_by_signal(lifeline: int | None) -> Iterator[None]:
    """Let SIGTERM, and the end of the parent, leave every `with` block properly."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    # uvicorn finishes its work and then raises the signal again, which without this would end the process on the spot.
    signal.signal(signal.SIGTERM, leave)
    if lifeline is not None:
        end_with_parent(lifeline)
    yield


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Let a signal undo what was begun, and never look like success."""
    with _ended_by_signal(None):
        try:
            yield
        except KeyboardInterrupt:
            typer.echo("truerun-server: interrupted; nothing was left behind", err=True)
            raise typer.Exit(130) from None


if __name__ == "__main__":
    main()
