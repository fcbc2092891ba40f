from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from truerun import journal as journals
from truerun.journal import Journal, left_behind
from truerun.points import Keys, Other, Point
from truerun.store import Store

KEYS = Keys("", "", (("", "loss"), ("easy", "mse")))


def point(idx: int, keys: Keys = KEYS) -> Point:
    return Point(idx, 10 * idx, 1.7e9 + idx, keys, tuple(idx + place for place in range(len(keys.names))))


@pytest.fixture
def stream(home: Path) -> Iterator[UUID]:
    stream_id = uuid4()
    yield stream_id
    journals.remove_left_behind(stream_id, directory=home)


@pytest.fixture
def directory(spool: Path, stream: UUID) -> Path:
    directory = spool / str(uuid4()) / "streams" / str(stream)
    directory.mkdir(parents=True)
    return directory


def test_what_was_written_is_found_by_whoever_looks(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory)
    other = Keys("operator", "val", (("", "nrmse"),))
    written = [
        point(0),
        point(1, other),
        Other(2, {"type": "event", "title": "half way"}),
        point(3),
        point(4, other),
    ]

    assert all(journal.write(record) for record in written)

    assert left_behind(stream, directory=directory) == written


def test_areas_take_turns_and_old_records_never_hide_new_ones(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory, area_bytes=1000)
    idx = 0
    for round_ in range(50):
        first = idx
        # The names differ by round, so that old frames of names lie behind the new ones.
        keys = Keys("", "", (("", f"metric {round_}"),))
        while journal.write(point(idx, keys)) and idx - first < round_ % 7:
            idx += 1
        idx += 1
        newest = [record for record in left_behind(stream, directory=directory) if record.idx >= first]
        assert newest == [point(each, keys) for each in range(first, idx)]
        journal.turn(spooled=first, logged=idx)


def test_an_area_is_not_written_over_while_the_spool_lacks_its_records(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory, area_bytes=500)
    journal.write(point(0))
    journal.turn(spooled=0, logged=1)
    journal.write(point(1))

    # Nothing reached the spool since: record 0 is needed still.
    journal.turn(spooled=0, logged=2)
    journal.write(point(2))

    assert [record.idx for record in left_behind(stream, directory=directory)] == [0, 1, 2]


def test_a_full_area_refuses_and_goes_on_once_the_spool_has_caught_up(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory, area_bytes=500)
    idx = 0
    while journal.write(point(idx)):
        idx += 1
    assert idx > 3
    assert not journal.write(point(idx + 1))

    journal.turn(spooled=idx, logged=idx + 2)

    assert journal.write(point(idx + 2))
    assert left_behind(stream, directory=directory) == [*map(point, range(idx)), point(idx + 2)]


def test_a_record_torn_by_the_kill_is_passed_over(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory)
    journal.write(point(0))
    before = journal._at
    journal.write(point(1))
    journal._memory[before + 12 : journal._at] = bytes(journal._at - before - 12)

    assert left_behind(stream, directory=directory) == [point(0)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_that_somebody_else_put_there_is_not_believed(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory)
    journal.write(point(0))
    os.chown(journal._path, 65534, 65534)

    assert left_behind(stream, directory=directory) == []


def test_a_link_in_its_place_is_neither_followed_nor_written_to(
    stream: UUID, directory: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    journals._place(stream, directory).symlink_to(victim)

    with pytest.raises(FileExistsError):
        Journal(stream, directory=directory)

    assert left_behind(stream, directory=directory) == []
    assert victim.read_bytes() == b"precious"


def test_nobody_else_may_read_it(stream: UUID, directory: Path) -> None:
    journal = Journal(stream, directory=directory)

    assert journal._path.stat().st_mode & 0o777 == 0o600


def test_without_room_the_store_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    said: list[str] = []
    stream_id = uuid4()

    journal = Store(tmp_path, stream_id, lambda _kind, message: said.append(message)).journal()

    assert journal is None
    assert len(said) == 1
    assert "No space left" in said[0]
    assert not journals._place(stream_id, tmp_path).exists()


def test_a_leftover_takes_from_the_journal_what_the_spool_lacks(stream: UUID, tmp_path: Path) -> None:
    directory = tmp_path / str(stream)
    store = Store(directory, stream, lambda *_: None)
    journal = store.journal()
    assert journal is not None
    for idx in range(10):
        journal.write(point(idx))
    store.append(map(point, range(6)), now=1.0)

    for _ in range(2):
        # The second time everything is in the spool.
        left = Store.leftover(directory, lambda *_: None)
        assert left.read(0, most_records=100, most_bytes=10**6) == list(map(point, range(10)))
        assert not journals._place(stream, directory).exists()
