"""What a process leaves that dies before it has said anything, or whose directory somebody removes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, until
from tests.client.test_process import script
from truerun import journal as journals
from truerun.cli import main
from truerun.journal import Journal, left_behind, remove_left_behind
from truerun.points import Keys, Point
from truerun.segments import Record
from truerun.spool import UNFINISHED_SECONDS, Spool
from truerun.store import Store

_DIES_IN_INIT = """
import os, signal, sys
import truerun

def die(event, arguments):
    if event == "open" and str(arguments[0]).endswith("run.json.part"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
truerun.init("burgers", run_key="unet-64")
"""
_DIES_LATER = """
import os, signal
import truerun

run = truerun.init("burgers", run_key="unet-64")
run.log({"loss": 1.0})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def unfinished(home: Path, service: FakeService, spool: Path) -> Path:
    """What is left of a process that was killed inside `init()`, just now."""
    assert script(home, service.url, _DIES_IN_INIT).code == -signal.SIGKILL
    (directory,) = spool.iterdir()
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "streams"]
    return directory


def aged(directory: Path) -> None:
    at = time.time() - UNFINISHED_SECONDS - 60
    os.utime(directory, (at, at))


def a_run_picks_up(service: FakeService, directory: Path) -> None:
    run = truerun.init("burgers", run_key="other", url=service.url, token=PROJECT_TOKEN)
    # Before it answers, the sender has nothing to do but to look at what others left.
    until(lambda: not directory.exists())
    run.finish()


def journal_of(directory: Path) -> Path:
    (stream,) = (directory / "streams").iterdir()
    return journals._place(UUID(stream.name), stream)


def records_in(stream: Path) -> list[Record]:
    store = Store.leftover(stream, lambda *_: None)
    return store.read(0, most_records=100, most_bytes=10**6)


def test_what_a_process_left_that_died_inside_init_is_removed_by_the_next_run(
    service: FakeService, unfinished: Path
) -> None:
    journal = journal_of(unfinished)
    assert journal.exists()
    aged(unfinished)

    a_run_picks_up(service, unfinished)

    assert not journal.exists()


def test_what_a_process_left_that_died_inside_init_is_removed_by_sync(
    service: FakeService, unfinished: Path, spool: Path
) -> None:
    aged(unfinished)

    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0

    assert list(spool.iterdir()) == []


def test_a_process_may_still_be_inside_init(service: FakeService, unfinished: Path) -> None:
    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0
    assert unfinished.exists()

    held = Spool(unfinished)
    assert held.try_lock()
    aged(unfinished)

    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0
    assert unfinished.exists()
    held.unlock()


def test_without_a_spool_there_is_nothing_to_tidy(
    service: FakeService, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0

    assert capsys.readouterr().err == f"nothing waits in {spool}\n"


@pytest.mark.parametrize("name", ["notes", "01890a5d-ac96-774b-bcce-b302099a8057"])
def test_what_is_not_ours_or_holds_something_stays(service: FakeService, spool: Path, name: str) -> None:
    directory = spool / name
    (directory / "evaluations").mkdir(parents=True)
    aged(directory)

    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0

    assert (directory / "evaluations").exists()


def test_the_journal_of_a_directory_that_somebody_removed_goes(
    home: Path, service: FakeService, spool: Path
) -> None:
    assert script(home, service.url, _DIES_LATER).code == -signal.SIGKILL
    (directory,) = spool.iterdir()
    journal = journal_of(directory)
    assert journal.exists()
    shutil.rmtree(directory)

    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0

    assert not journal.exists()


def test_a_run_that_had_no_time_to_end_takes_its_journal_away_once_all_is_on_the_disk(
    service: FakeService, spool: Path
) -> None:
    service.always = {kind: Fault(hang=True) for kind in ("run", "records")}
    run = truerun.init("burgers", run_key="unet-64", url=service.url, token=PROJECT_TOKEN)
    run.log({"loss": 1.0})
    (directory,) = spool.iterdir()
    journal = journal_of(directory)
    assert journal.exists()

    run.finish(timeout=0.0)

    until(lambda: not journal.exists())
    (stream,) = (directory / "streams").iterdir()
    assert [each.idx for each in records_in(stream)] == [0, 1]


def test_the_journal_of_another_spool_stays(home: Path, service: FakeService, spool: Path) -> None:
    stream = uuid4()
    elsewhere = home / "elsewhere" / "writer" / "streams" / str(stream)
    elsewhere.mkdir(parents=True)
    spool.mkdir(parents=True)
    point = Point(0, 0, 1.7e9, Keys("", "", (("", "loss"),)), (1.0,))
    Journal(stream, directory=elsewhere).write(point)
    # Another container sees the same shared memory and not this directory.
    shutil.rmtree(elsewhere)

    assert main(["sync", "--url", service.url, "--token", PROJECT_TOKEN]) == 0

    assert left_behind(stream, directory=elsewhere) == [point]
    remove_left_behind(stream, directory=elsewhere)
