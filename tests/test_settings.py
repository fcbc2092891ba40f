from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", *(f"TRUERUN_{field.upper()}" for field in Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)


def test_without_any_setting_the_service_runs_here_on_a_postgres_of_its_own() -> None:
    settings = Settings()

    assert (settings.database_url, settings.data_dir) == (None, None)
    assert (settings.host, settings.port) == ("127.0.0.1", 8750)


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("TRUERUN_PORT", "")

    assert Settings() == Settings(database_url=None, port=8750)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_addresses_are_taken_as_hosts_hand_them_out(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://ana:p%40ss@db:5432/truerun?sslmode=require")

    assert Settings().database_url == "postgresql://ana:p%40ss@db:5432/truerun?sslmode=require"


@pytest.mark.parametrize("address", ["8751", ":8751", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "a:b"])
def test_an_address_for_the_workers_metrics_names_host_and_port(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("TRUERUN_WORKER_METRICS", address)

    with pytest.raises(ValidationError, match="host:port"):
        Settings()


def test_the_password_shows_neither_in_an_error_nor_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ana:very-secret@db/truerun")
    assert "very-secret" not in repr(Settings())

    monkeypatch.setenv("DATABASE_URL", "sqlite://ana:very-secret@db/truerun")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "very-secret" not in str(caught.value)


def test_a_data_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRUERUN_DATA_DIR", "data")
    assert Settings().data_dir == tmp_path / "data"

    monkeypatch.setenv("HOME", "/home/ana")
    monkeypatch.setenv("TRUERUN_DATA_DIR", "~/data")
    assert Settings().data_dir == Path("/home/ana/data")
