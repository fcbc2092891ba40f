from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import pytest

from truerun.points import Keys, Other, Point, batch_document
from truerun.segments import Record
from truerun.store import MOST_MEMORY_BYTES, SEAL_BYTES, Store

STREAM = UUID(int=7)
FULL = bool(os.environ.get("FAULTS_FULL"))
LOSS = Keys("", "", (("", "loss"), ("", "acc")))
VAL = Keys("", "val", (("k=4", "mse"),))


def a_point(idx: int, keys: Keys = LOSS) -> Point:
    return Point(idx, idx * 10, 1000.0 + idx, keys, tuple(idx + i / 4 for i in range(len(keys.names))))


def some_records(count: int) -> list[Record]:
    """Points of two sets of names, and an event every ten."""
    return [
        Other(idx, {"type": "event", "title": f"event {idx}"})
        if idx % 10 == 9
        else a_point(idx, (LOSS, VAL)[idx % 2])
        for idx in range(count)
    ]


def a_store(directory: Path | None, said: list[str] | None = None) -> Store:
    return Store(directory, STREAM, lambda _kind, message: None if said is None else said.append(message))


def everything(store: Store, first: int = 0) -> list[Record]:
    return store.read(first, most_records=10**9, most_bytes=10**12)


def leftover(directory: Path) -> Store:
    return Store.leftover(directory, lambda *_: None)


def written(directory: Path, records: Iterable[Record]) -> Path:
    """One segment as a killed process leaves it."""
    store = a_store(directory)
    store.append(records, now=0.0)
    (path,) = directory.glob("*.seg")
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / str(STREAM)


def test_records_come_back_as_they_were_written(directory: Path) -> None:
    records = some_records(500)
    store = a_store(directory)

    store.append(records[:200], now=0.0)
    store.append(records[200:], now=1.0)

    assert everything(store) == records
    assert everything(store, 321) == records[321:]
    assert everything(leftover(directory)) == records
    assert store.read(10, most_records=5, most_bytes=10**9) == records[10:15]


def test_segments_are_sealed_by_size_and_by_time_and_taken_away_when_acknowledged(directory: Path) -> None:
    store = a_store(directory)
    for i in range(0, 60_000, 1000):
        store.append([a_point(i + j) for j in range(1000)], now=0.0)
    store.append([a_point(60_000)], now=1.0)
    store.append([a_point(60_001)], now=62.0)
    files = sorted(directory.glob("*.seg"))
    assert len(files) >= 3
    assert all(path.stat().st_size < SEAL_BYTES * 1.2 for path in files)

    store.acknowledge(30_000)
    assert 1 <= len(list(directory.glob("*.seg"))) < len(files)
    assert everything(store)[-1].idx == 60_001
    store.acknowledge(60_002)
    store.close(is_settled=True)

    assert not directory.exists()


def test_a_segment_cut_off_anywhere_keeps_every_whole_record(directory: Path) -> None:
    records = some_records(1500)
    path = written(directory, records)
    content = path.read_bytes()
    assert len(content) > 64 * 1024
    for cut in range(0, len(content), 1 if FULL else 16):
        path.write_bytes(content[:cut])

        found = everything(leftover(directory))

        assert found == records[: len(found)]
    path.write_bytes(content)
    assert everything(leftover(directory)) == records


def test_any_flipped_byte_loses_few_records_and_changes_none(directory: Path) -> None:
    records = some_records(1500)
    path = written(directory, records)
    content = path.read_bytes()
    by_idx = {record.idx: record for record in records}
    # The frame with a set of names takes all points with it that refer to it.
    names_end = 200
    for place in range(0, min(len(content), 64 * 1024), 1 if FULL else 16):
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)

        found = everything(leftover(directory))

        assert all(by_idx[record.idx] == record for record in found)
        assert len(found) >= (len(records) - 3 if place > names_end else 100)
        told = batch_document(found, first=0, facts={}, missing="damaged")
        assert told["count"] == (found[-1].until if isinstance(found[-1], Other) else found[-1].idx + 1)


def test_damage_in_the_middle_is_a_gap_and_later_segments_stay(directory: Path) -> None:
    store = a_store(directory)
    store.append([a_point(i) for i in range(1000)], now=0.0)
    store.seal()
    store.append([a_point(i) for i in range(1000, 2000)], now=0.0)
    store.seal()
    first, second = sorted(directory.glob("*.seg"))
    damaged = bytearray(first.read_bytes())
    damaged[20_000:21_000] = random.Random(1).randbytes(1000)
    first.write_bytes(damaged)

    found = everything(leftover(directory))
    told = batch_document(found, first=0, facts={}, missing="damaged")

    (gap,) = told["other"]
    assert gap["type"] == "gap"
    assert 10 <= gap["until"] - gap["idx"] <= 40
    assert told["count"] == 2000
    first.write_bytes(b"")
    assert [record.idx for record in everything(leftover(directory))] == list(range(1000, 2000))
    assert second.exists()


def test_a_full_disk_keeps_records_in_memory_and_the_file_whole(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    store = a_store(directory, said)
    records = some_records(3000)
    store.append(records[:1000], now=0.0)
    real = os.write

    def full(file: int, content: bytes) -> int:
        # As a disk does that fills up in the middle.
        if len(content) > 100:
            return real(file, content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    store.append(records[1000:2000], now=1.0)
    assert everything(store) == records[:2000]
    assert said
    monkeypatch.setattr(os, "write", real)
    store.append(records[2000:], now=10.0)

    assert everything(store) == records
    assert [record.idx for record in everything(leftover(directory))] == [*range(1000), *range(2000, 3000)]


def test_the_end_of_a_run_is_written_into_the_reserve_of_a_full_disk(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store(directory)
    store.append([a_point(0)], now=0.0)
    reserve = directory / "reserve"
    assert reserve.stat().st_size > 0
    real = os.write

    def full_without_reserve(file: int, content: bytes) -> int:
        if reserve.exists():
            raise OSError(28, "No space left on device")
        return real(file, content)

    monkeypatch.setattr(os, "write", full_without_reserve)
    store.append([Other(1, {"type": "finish", "status": "finished"})], now=1.0)

    assert [record.idx for record in everything(leftover(directory))] == [0, 1]


def test_without_any_disk_memory_is_bounded_and_the_oldest_points_go(tmp_path: Path) -> None:
    store = a_store(None)
    store.append([Other(0, {"type": "event", "title": "kept"})], now=0.0)
    for i in range(1, 300_001, 1000):
        store.append([a_point(i + j) for j in range(1000)], now=0.0)

    assert store.held_bytes <= MOST_MEMORY_BYTES + SEAL_BYTES
    found = everything(store)
    assert found[0] == Other(0, {"type": "event", "title": "kept"})
    assert found[-1].idx == 300_000
    assert store.lost
    assert {reason for _, _, reason in store.lost} == {"memory_full"}


def test_a_full_spool_drops_its_oldest_points_and_no_event(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("truerun.store.MOST_DISK_BYTES", 3 * SEAL_BYTES)
    store = a_store(directory)
    for i in range(0, 100_000, 1000):
        store.append(
            [Other(i, {"type": "event", "title": str(i)}), *(a_point(i + j) for j in range(1, 1000))], now=0.0
        )

    found = everything(store)
    assert sum(path.stat().st_size for path in directory.glob("*.seg")) <= 4 * SEAL_BYTES
    assert [record.idx for record in found if isinstance(record, Other)] == list(range(0, 100_000, 1000))
    assert found[-1].idx == 99_999
    assert {reason for _, _, reason in store.lost} == {"spool_full"}


def test_a_number_that_fits_into_no_double_is_a_gap(directory: Path) -> None:
    store = a_store(directory)
    too_large = Point(1, 1, 1.0, LOSS, (10**400, 1.0))  # type: ignore[arg-type]

    store.append([a_point(0), too_large, a_point(2)], now=0.0)

    assert [record.idx for record in everything(store)] == [0, 2]
    assert store.lost == [(1, 2, "not_a_number")]


def test_a_frame_holds_what_it_says() -> None:
    from truerun.points import Encoder

    frames = Encoder().encode(a_point(3))

    length, _ = struct.unpack_from("<II", frames)
    assert frames[8:9] == b"K"
    assert frames[8 + length + 8 : 8 + length + 9] == b"P"
