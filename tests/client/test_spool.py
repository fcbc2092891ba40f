"""What is on disk is whole, private, and gone once delivered."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from truerun.ids import new_id
from truerun.spool import Spool, writers


def a_spool(path: Path) -> Spool:
    return Spool.create(path / "truerun" / "spool", new_id())


def test_directories_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o000)
    (tmp_path / "truerun").mkdir(mode=0o755)
    try:
        spool = a_spool(tmp_path)
        spool.write_run({"a": 1})
        spool.write_evaluation(new_id(), b"{}")
        refused = new_id()
        spool.write_evaluation(refused, b"{}")
        spool.reject(refused, {"status": 422})
    finally:
        os.umask(before)

    for path in (tmp_path / "truerun").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((tmp_path / "truerun").stat().st_mode) == 0o700


def test_an_evaluation_comes_back_as_it_was_in_the_order_it_was_made(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    ids = [new_id() for _ in range(5)]
    for one in reversed(ids):
        spool.write_evaluation(one, str(one).encode())

    assert spool.pending() == ids
    assert spool.read_evaluation(ids[3]) == str(ids[3]).encode()


def test_an_accepted_evaluation_is_gone_and_an_empty_directory_too(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    spool.write_run({})
    one = new_id()
    spool.write_evaluation(one, b"{}")
    assert not spool.remove()

    spool.accept(one)
    spool.accept(one)

    assert spool.remove()
    assert not spool.directory.exists()


def test_a_refused_evaluation_stays_with_its_answer(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    one = new_id()
    spool.write_evaluation(one, b"the body")

    spool.reject(one, {"status": 422, "detail": "no such metric"})

    folder = spool.directory / "rejected"
    assert (folder / f"{one}.json").read_bytes() == b"the body"
    assert json.loads((folder / f"{one}.answer.json").read_text()) == {
        "status": 422,
        "detail": "no such metric",
    }
    assert spool.pending() == []
    assert spool.rejected() == [one]
    assert not spool.remove()


def test_a_file_is_flushed_to_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = a_spool(tmp_path)
    one = new_id()
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)

    spool.write_evaluation(one, b"{}")

    # First the name of the folder that is made for the first evaluation.
    assert steps == ["directory", "file", "rename", "directory"]


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = a_spool(tmp_path)
    one = new_id()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.write_evaluation(one, b"{}")

    assert spool.pending() == []
    assert list((spool.directory / "evaluations").iterdir()) == []


def test_a_directory_in_use_is_not_taken_and_a_free_one_is(tmp_path: Path) -> None:
    mine = a_spool(tmp_path)
    other = Spool(mine.directory)

    assert not other.try_lock()
    mine.unlock()
    assert other.try_lock()


def test_strangers_in_the_directory_are_not_evaluations(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    spool.write_evaluation(new_id(), b"{}")
    for name in ("notes.txt", "x.json", f"{new_id()}.json.part", f"{new_id()}.answer.json"):
        (spool.directory / "evaluations" / name).write_text("")

    assert len(spool.pending()) == 1


def test_writers_are_found_below_a_spool_or_as_it(tmp_path: Path) -> None:
    first, second = a_spool(tmp_path), a_spool(tmp_path)
    first.write_run({})
    second.write_run({})
    a_spool(tmp_path)

    root = tmp_path / "truerun" / "spool"

    assert writers(root) == [first.directory, second.directory]
    assert writers(first.directory) == [first.directory]
    assert writers(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 99}'])
def test_a_damaged_or_later_run_file_is_not_believed(tmp_path: Path, content: str) -> None:
    spool = a_spool(tmp_path)
    (spool.directory / "run.json").write_text(content)

    with pytest.raises(ValueError, match=r".*"):
        spool.read_run()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_a_state_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "truerun").mkdir()
    os.chown(tmp_path / "truerun", 12345, 12345)
    monkeypatch.setattr(os, "getuid", lambda: 54321)

    with pytest.raises(PermissionError, match="another user"):
        a_spool(tmp_path)
