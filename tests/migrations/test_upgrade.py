"""From the previous release's schema to today's: with its data, under its traffic, and back to back with its code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from app.db import migrate
from tests.db.backups.full import wrongly_recomputed
from tests.migrations.previous import (
    CLONE,
    PREVIOUS_SCHEMA,
    Poster,
    admin_token,
    run_previous,
    serving,
    unpack_previous_release,
)
from tests.services.claims import judge_again
from tests.services.world import a_world

# Columns of the previous release whose values a migration changes on purpose, each with its reason.
CHANGED = {
    ("run", "recipe"): "0003: a run of which nothing is known gets a recipe of its own",
    ("leaderboard_row", "recipe"): "0003: likewise",
}
# New columns that a migration fills by something better than their default.
FILLED: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = tmp_path_factory.mktemp("previous")
    unpack_previous_release(code)
    return code


@pytest.fixture
def old_url(previous: Path, empty_database_url: str) -> str:
    """A database that the previous release has migrated."""
    run_previous(previous, empty_database_url, "migrate")
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (PREVIOUS_SCHEMA,)
        ]
    return empty_database_url


@dataclass(frozen=True)
class Shape:
    """Columns of every table, in their order, with their defaults."""

    columns: dict[tuple[str, str], str | None]

    @property
    def tables(self) -> dict[str, list[str]]:
        tables: dict[str, list[str]] = {}
        for table, column in self.columns:
            tables.setdefault(table, []).append(column)
        return tables


def shape_of(database_url: str) -> Shape:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, column_default FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, ordinal_position"
        )
        return Shape({(table, column): default for table, column, default in rows})


def digests(database_url: str, shape: Shape) -> dict[str, tuple[int, str]]:
    """(rows, digest) of each table over the columns of that shape, but for those that change on purpose."""
    found = {}
    with psycopg.connect(database_url) as connection:
        for table, columns in shape.tables.items():
            kept = [sql.Identifier(column) for column in columns if (table, column) not in CHANGED]
            query = sql.SQL(
                "SELECT count(*), coalesce(md5(string_agg(digest, '' ORDER BY digest)), '') "
                "FROM (SELECT md5(ROW({})::text) AS digest FROM {}) AS rows"
            ).format(sql.SQL(", ").join(kept), sql.Identifier(table))
            row = connection.execute(query).fetchone()
            assert row is not None
            found[table] = row
    return found


def post_of_everything(poster: Poster) -> None:
    """Champions of several kinds, alerts, seeds, values that are not finite, something invalid, something archived."""
    seat = poster.open_run("seat", config={"lr": 1})
    first = poster.post(seat, {"a": 0.2, "b": 0.2})
    poster.crown("bootstrap", first["evaluation"], reason="first")
    better = poster.post(poster.open_run("better"), {"a": 0.1, "b": 0.1})
    poster.crown("promote", better["evaluation"])
    for seed in range(4):
        poster.post(poster.open_run(f"seed-{seed}", config={"lr": 2, "seed": seed}), {"a": 0.11, "b": 0.1})
    poster.post(poster.open_run("unknown-1"), {"a": "NaN", "b": "Infinity"})
    poster.post(poster.open_run("unknown-2"), {"a": 0.5, "b": 0.1}, stage="best")
    poster.post(poster.open_run("watched"), {"a": 0.5, "b": 0.1}, purpose="progress", step=3)
    poster.crown("override", first["evaluation"], reason="because")
    poster.ask("POST", f"/runs/{seat}/invalidate", {"reason": "leak"})
    gone = poster.open_run("gone")
    poster.post(gone, {"a": 0.3, "b": 0.1})
    poster.ask("DELETE", f"/runs/{gone}")
    assert not poster.wrong, poster.wrong


@pytest.fixture
def poster(previous: Path, old_url: str, tmp_path: Path) -> Iterator[Poster]:
    """Talks to the previous release."""
    with serving(previous, old_url, log=tmp_path / "previous.log") as url:
        yield Poster(token=admin_token(previous, old_url), urls=[url])


def check_ledger(poster: Poster, url: str) -> None:
    """Everything that was acknowledged is there, once, and posting it again says so."""
    poster.urls = [url]
    for posted in poster.ledger:
        path = f"/runs/{posted.run_id}/evaluations/{posted.evaluation}"
        response = httpx.put(
            f"{url}/api/v1{path}",
            json=posted.body,
            headers={"Authorization": f"Bearer {poster.token}"},
            trust_env=False,
            timeout=60,
        )
        assert response.status_code == 200, (path, response.status_code, response.text)


def test_an_older_database_keeps_every_row(poster: Poster, old_url: str, tmp_path: Path) -> None:
    post_of_everything(poster)
    before = shape_of(old_url)
    kept = digests(old_url, before)
    assert kept["alert"][0] > 0

    migrate.upgrade(old_url)

    after = shape_of(old_url)
    assert before.columns.keys() - after.columns.keys() == set(), (
        "a column is gone that the previous release uses"
    )
    assert digests(old_url, before) == kept
    with psycopg.connect(old_url) as connection:
        for (table, column), default in after.columns.items():
            if (table, column) in before.columns or table not in before.tables or (table, column) in FILLED:
                continue
            odd = connection.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE {} IS DISTINCT FROM {}").format(
                    sql.Identifier(table), sql.Identifier(column), sql.SQL(default or "NULL")
                )
            ).fetchone()
            assert odd == (0,), f"{table}.{column} is not its default where the row is older than the column"


def test_an_older_verdict_is_what_its_input_gives(poster: Poster, old_url: str) -> None:
    post_of_everything(poster)

    migrate.upgrade(old_url)

    with a_world(old_url) as world:
        assert wrongly_recomputed(world) == []
        judge_again(world)
        assert wrongly_recomputed(world) == []


def test_a_release_is_rolled_out_while_people_post(
    poster: Poster, old_url: str, previous: Path, tmp_path: Path
) -> None:
    post_of_everything(poster)
    old = poster.urls[0]

    with poster.at_work():
        poster.until_posted(10)
        migrated = subprocess.run(
            [sys.executable, "-P", "-m", "app.cli", "migrate", "--wait", "60"],
            env={"DATABASE_URL": old_url, "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert migrated.returncode == 0, migrated.stderr
        # The code of before, on the schema of after.
        poster.until_posted(12)
        promoted = poster.promoted
        assert promoted > 0
        with serving(CLONE, old_url, log=tmp_path / "new.log") as new:
            # Side by side; each worker stays with one.
            poster.urls = [old, new]
            poster.until_posted(12)
            poster.urls = [new]
            poster.until_posted(12)
            poster.finish()
    assert not poster.wrong, poster.wrong

    with serving(CLONE, old_url, log=tmp_path / "newer.log") as new:
        check_ledger(poster, new)
        shown = {
            each.evaluation: poster.ask("GET", f"/evaluations/{each.evaluation}") for each in poster.ledger
        }
    assert not poster.wrong, poster.wrong
    assert len(shown) == len(poster.ledger)
    with a_world(old_url) as world:
        judge_again(world)
        assert wrongly_recomputed(world) == []
