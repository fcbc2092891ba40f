"""What is backed up and restored is the same, row for row; what is not whole never goes in."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from app.db import backups, migrate
from app.db.backups import BackupFailed, catalog
from tests.api.calling import a_post, a_run, an_admin
from tests.db.backups.full import every_assessment, fill, row_digests, wrongly_recomputed
from tests.services.world import NOW, a_project, a_world


def dumped(database_url: str) -> bytes:
    file = io.BytesIO()
    backups.dump(database_url, file, now=NOW, say=lambda line: None)
    return file.getvalue()


def loaded(database_url: str, backup: bytes) -> list[str]:
    said: list[str] = []
    backups.load(database_url, io.BytesIO(backup), say=said.append)
    return said


@pytest.fixture
def full_url(database_url: str) -> str:
    with a_world(database_url) as world:
        fill(world)
    return database_url


@pytest.fixture
def small_backup(database_url: str) -> bytes:
    with a_world(database_url) as world:
        a_project(world)
    return dumped(database_url)


def test_every_row_of_every_table_is_restored(full_url: str, empty_database_url: str) -> None:
    before = row_digests(full_url)
    assert [name for name, (rows, _) in before.items() if not rows] == [], (
        "let tests/db/backups/full.py fill every table"
    )

    loaded(empty_database_url, dumped(full_url))

    assert row_digests(empty_database_url) == before
    assert row_digests(full_url) == before


def test_a_restored_verdict_is_what_its_input_gives(full_url: str, empty_database_url: str) -> None:
    loaded(empty_database_url, dumped(full_url))

    with a_world(full_url) as before, a_world(empty_database_url) as after:
        assert every_assessment(after) == every_assessment(before)
        assert wrongly_recomputed(after) == []


def test_a_restored_database_serves_and_takes_posts(full_url: str, empty_database_url: str) -> None:
    with an_admin(full_url) as admin:
        verdicts = [
            item["evaluation"]
            for run in admin.get("/projects/burgers/runs")["items"]
            for item in admin.get(f"/runs/{run['run_id']}/evaluations")["items"]
        ]
        shown = {each: admin.get(f"/evaluations/{each}") for each in verdicts}
        token = admin.token
    loaded(empty_database_url, dumped(full_url))

    with an_admin(empty_database_url) as other:
        admin = other.with_token(token)

        assert {each: admin.get(f"/evaluations/{each}") for each in verdicts} == shown
        run_id = a_run(admin, project="burgers", key="after")
        posted = admin.put(
            f"/runs/{run_id}/evaluations/{uuid4()}",
            {"suite": "heights", "values": [{"metric": "log2_mse", "group": "easy", "value": 0.1, "n": 100}]},
        )
        assert posted["gate"]
        a_post_of_a_new_project = a_run(admin, project="new", key="run")
        assert admin.put(f"/runs/{a_post_of_a_new_project}/evaluations/{uuid4()}", a_post())["gate"]


def test_counting_columns_go_on_where_they_were(full_url: str, empty_database_url: str) -> None:
    def take_number(url: str) -> int:
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT nextval(pg_get_serial_sequence('outbox_message', 'id'))"
            ).fetchone()
            assert row is not None
            return int(row[0])

    used = take_number(full_url)

    loaded(empty_database_url, dumped(full_url))

    assert take_number(empty_database_url) == used + 1


def test_a_backup_is_of_one_moment_while_others_write(database_url: str, empty_database_url: str) -> None:
    written: list[str] = []

    def write_behind(line: str) -> None:
        """A project with its audit row, after each table that is done: one of the two would come too late."""
        key = f"project-{len(written)}"
        with a_world(database_url) as other:
            a_project(other, key)
        written.append(line)

    with a_world(database_url) as world:
        a_project(world, "before")
    file = io.BytesIO()
    backups.dump(database_url, file, now=NOW, say=write_behind)

    loaded(empty_database_url, file.getvalue())

    assert len(written) > 10
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT key FROM project").fetchall() == [("before",)]
        assert connection.execute("SELECT subject FROM audit_event").fetchall() == [("project before",)]


def test_a_file_that_was_cut_off_leaves_nothing(full_url: str, empty_database_url: str) -> None:
    backup = dumped(full_url)

    for length in (0, 1, 100, len(backup) // 2, len(backup) - 1):
        with pytest.raises(BackupFailed, match=r"cut off|damaged|no backup"):
            loaded(empty_database_url, backup[:length])
        assert all(
            not rows
            for name, (rows, _) in row_digests(empty_database_url).items()
            if name != "alembic_version"
        )

    loaded(empty_database_url, backup)
    assert row_digests(empty_database_url) == row_digests(full_url)


def test_a_wrong_byte_anywhere_is_noticed(small_backup: bytes) -> None:
    # The first ten bytes are gzip's own header; of those it does not check every one.
    for place in range(10, len(small_backup), 23):
        damaged = bytearray(small_backup)
        damaged[place] ^= 0x10

        with pytest.raises(BackupFailed):
            backups.check(io.BytesIO(bytes(damaged)))


def test_a_changed_value_is_noticed_though_the_file_is_well_formed(
    small_backup: bytes, empty_database_url: str
) -> None:
    plain = gzip.decompress(small_backup)
    assert plain.count(b"burgers") > 1

    changed = gzip.compress(plain.replace(b"burgers", b"burgerz", 1))

    with pytest.raises(BackupFailed, match="damaged"):
        loaded(empty_database_url, changed)


def test_a_backup_of_a_newer_schema_names_the_release_to_use(
    small_backup: bytes, empty_database_url: str
) -> None:
    lines = gzip.decompress(small_backup).splitlines(keepends=True)
    header = json.loads(lines[0]) | {"schema": "9999", "release": "7.8.9"}

    newer = gzip.compress(b"".join([json.dumps(header).encode() + b"\n", *lines[1:]]))

    with pytest.raises(BackupFailed, match=r"schema 9999.*newer.*7\.8\.9"):
        loaded(empty_database_url, newer)


@pytest.mark.parametrize(
    "content",
    [b"", b"no backup", gzip.compress(b"{}\n"), gzip.compress(b"hello")],
    ids=["nothing", "text", "another document", "compressed text"],
)
def test_another_file_is_no_backup(content: bytes) -> None:
    with pytest.raises(BackupFailed, match="no backup of Truerun"):
        backups.check(io.BytesIO(content))


def test_a_database_with_rows_is_left_alone(database_url: str, small_backup: bytes) -> None:
    before = row_digests(database_url)

    with pytest.raises(BackupFailed, match=r"not empty.*DATABASE_URL"):
        loaded(database_url, small_backup)

    assert row_digests(database_url) == before


def test_somebody_elses_tables_are_left_alone(small_backup: bytes, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE recipes (id int PRIMARY KEY)")

    with pytest.raises(BackupFailed, match=r"not Truerun's \(recipes\)"):
        loaded(empty_database_url, small_backup)

    assert row_digests(empty_database_url).keys() == {"recipes"}


def test_a_backup_of_an_older_schema_goes_into_a_database_that_was_migrated_too_far(
    empty_database_url: str, database_url: str
) -> None:
    migrate.upgrade(empty_database_url, "0001")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("INSERT INTO project VALUES (gen_random_uuid(), 'old', 'old', now(), 'x')")
    backup = dumped(empty_database_url)

    said = loaded(database_url, backup)

    assert "project: 1 rows" in said
    assert row_digests(database_url)["project"] == row_digests(empty_database_url)["project"]
    with a_world(database_url) as world:
        assert world.run(lambda session: migrate.is_current(session.connection()))


def test_a_database_without_the_service_is_nothing_to_back_up(empty_database_url: str) -> None:
    with pytest.raises(BackupFailed, match="no tables of Truerun"):
        dumped(empty_database_url)


def test_secrets_are_in_a_backup_only_as_digests(database_url: str) -> None:
    with an_admin(database_url) as admin:
        token = admin.token

    assert token is not None
    plain = gzip.decompress(dumped(database_url)).decode()
    assert token not in plain
    assert token.removeprefix("trn_") not in plain


def test_values_survive_a_server_with_other_habits(database_url: str, empty_database_url: str) -> None:
    with a_world(database_url) as world:
        fill(world)
        with world.transaction() as session:
            name = session.execute(text("SELECT current_database()")).scalar_one()
            for setting in (
                "extra_float_digits = -5",
                "datestyle = 'SQL, DMY'",
                "timezone = 'Asia/Kolkata'",
                "bytea_output = 'escape'",
                "statement_timeout = '10s'",
            ):
                session.execute(text(f'ALTER DATABASE "{name}" SET {setting}'))

    backup = dumped(database_url)

    loaded(empty_database_url, backup)
    address = database_url.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        with connection.transaction():
            catalog.speak_plainly(connection)
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        connection.execute(
            psycopg.sql.SQL("ALTER DATABASE {} RESET ALL").format(psycopg.sql.Identifier(name))
        )
    assert row_digests(empty_database_url) == row_digests(database_url)


def test_a_name_appears_with_a_whole_backup_only(tmp_path: Path) -> None:
    path = tmp_path / "mine.backup"

    def break_off() -> None:
        with backups.writing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert list(tmp_path.iterdir()) == []
    with backups.writing(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupFailed, match="exists"), backups.writing(path):
        pass
    assert path.read_bytes() == b"whole"
