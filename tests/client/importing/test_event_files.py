from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from tests.client.importing.trackers import DATA
from truerun.importing import PastRun, SourceError
from truerun.importing.event_files import Damaged, EventFile, masked_crc32c, records
from truerun.importing.past import Restart, Row
from truerun.importing.tensorboard import LogDirectory

FIRST = DATA / "tensorboard" / "lr-1" / "events.out.tfevents.1795252301.vm.a"
LATER = DATA / "tensorboard" / "lr-1" / "events.out.tfevents.1795252302.vm.b"


def steps(run: PastRun) -> list[int | str]:
    found = run.rows(run.tally)
    return [row.step if isinstance(row, Row) else f"restart at {row.step}" for row in found]


def framed(payload: bytes) -> bytes:
    head = struct.pack("<Q", len(payload))
    return head + struct.pack("<I", masked_crc32c(head)) + payload + struct.pack("<I", masked_crc32c(payload))


def event(step: int, time: float, tag: str, value: float) -> bytes:
    """A record with one scalar, by the field numbers of event.proto and summary.proto."""
    inner = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    return framed(
        b"\x09"
        + struct.pack("<d", time)
        + b"\x10"
        + bytes([step])
        + b"\x2a"
        + bytes([len(summary)])
        + summary
    )


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, B.4: CRC-32C of 32 zero bytes.
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("place", [3, 9, 30, -1], ids=["length", "its checksum", "content", "last checksum"])
def test_damage_is_seen_and_what_came_before_counts(tmp_path: Path, place: int) -> None:
    data = bytearray(FIRST.read_bytes())
    good = len(list(records(FIRST)))
    data[place] ^= 1
    (tmp_path / "events.out.tfevents.1.vm").write_bytes(data)

    found = []
    with pytest.raises(Damaged, match=r"checksum|cut off"):
        found.extend(records(tmp_path / "events.out.tfevents.1.vm"))

    assert len(found) == (good - 1 if place == -1 else 0)


def test_a_file_that_is_cut_off_gives_what_is_whole_and_is_told_of(tmp_path: Path) -> None:
    (tmp_path / FIRST.name).write_bytes(FIRST.read_bytes()[:-7])

    (run,) = LogDirectory(tmp_path).runs()

    assert steps(run) == [0, 1, 2, 3, 4]
    assert run.tally.left_out == {"damaged": 1}
    assert "is cut off" in run.tally.problems[0]


def test_a_later_file_that_goes_back_wins_from_there_on(tmp_path: Path) -> None:
    shutil.copy(FIRST, tmp_path)
    shutil.copy(LATER, tmp_path)

    (run,) = LogDirectory(tmp_path).runs()

    assert steps(run) == [0, 1, 2, 3, 4, 5, "restart at 3", 3, 4, 5, 6]


def test_two_writers_at_the_same_time_are_no_restart(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.a").write_bytes(event(0, 10, "loss", 1) + event(9, 30, "loss", 2))
    (tmp_path / "events.out.tfevents.2.b").write_bytes(event(0, 20, "loss", 3))
    # Nor is one that brings another metric later.
    (tmp_path / "events.out.tfevents.3.c").write_bytes(event(0, 90, "val", 4) + event(9, 91, "val", 4))

    (run,) = LogDirectory(tmp_path).runs()

    assert steps(run) == [0, 9, 0, 0, 9]


def test_a_file_that_goes_on_is_no_restart(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.a").write_bytes(event(0, 10, "loss", 1) + event(9, 30, "loss", 2))
    (tmp_path / "events.out.tfevents.2.b").write_bytes(event(10, 40, "loss", 3))

    (run,) = LogDirectory(tmp_path).runs()

    assert steps(run) == [0, 9, 10]


def test_a_payload_that_is_no_event_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(framed(b"\x09\x00"))

    with pytest.raises(Damaged):
        list(EventFile(file).events())


def test_a_directory_without_event_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no event file"):
        list(LogDirectory(tmp_path).runs())


def test_the_session_that_purges_restarts_from_its_step() -> None:
    (run,) = [run for run in LogDirectory(DATA / "tensorboard").runs() if run.name == "tensorboard/lr-0.1"]

    assert [row for row in run.rows(run.tally) if isinstance(row, Restart)] == [Restart(5)]
