"""Starting a run, and everything it promises the training it is a guest of."""

from __future__ import annotations

import copy
import logging
import pickle
import pkgutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, problem, until
from truerun import NotDelivered
from truerun.environment import wandb_run

pytestmark = pytest.mark.usefixtures("impatient")


def test_init_returns_before_anything_was_sent(service: FakeService) -> None:
    service.always["run"] = Fault(hang=True)

    began = time.monotonic()
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)

    assert time.monotonic() - began < 2
    assert not run.is_muted


def test_two_daemon_threads_are_started_one_to_write_and_one_to_send(service: FakeService) -> None:
    before = set(threading.enumerate())

    truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)

    threads = (
        set(threading.enumerate())
        - before
        - {t for t in threading.enumerate() if "process_request" in t.name}
    )
    assert sorted(thread.name for thread in threads) == ["truerun-sender", "truerun-writer"]
    assert all(thread.daemon for thread in threads)


def test_the_run_is_described_as_it_was_started(service: FakeService) -> None:
    truerun.init(
        "burgers",
        "unet",
        {"lr": 1e-3, "path": Path("/data")},
        42,
        7,
        "width-sweep",
        ["a", "b"],
        "first try",
        run_key="unet-64",
        url=service.url,
        token=PROJECT_TOKEN,
    )
    until(lambda: "unet-64" in service.runs)

    body = service.runs["unet-64"]
    environment = body.pop("environment")
    commit = body.pop("git_commit", None)
    assert commit is None or len(commit) == 40
    assert environment["split_seed"] == 7
    assert {"hostname", "python"} <= set(environment)
    assert body.pop("attempt_id")
    assert body == {
        "role": "train",
        "name": "unet",
        "config": {"lr": 1e-3, "path": "/data"},
        "run_group": "width-sweep",
        "tags": ["a", "b"],
        "notes": "first try",
        "seed": 42,
        "split_seeded": True,
    }


@pytest.mark.parametrize(
    ("options", "seed", "split_seeded"),
    [
        pytest.param({}, None, None, id="nothing said is nothing known"),
        pytest.param({"config": {"seed": 3}}, 3, None, id="the seed of the configuration"),
        pytest.param({"config": {"seed": 3}, "seed": 4}, 4, None, id="the argument wins"),
        pytest.param({"config": {"seed": True}}, None, None, id="a switch is no seed"),
        pytest.param({"split_seed": 0}, None, True, id="zero is a seed"),
        pytest.param({"split_seed": False}, None, False, id="known to be without one"),
    ],
)
def test_seeds_are_known_only_when_said(
    service: FakeService, options: dict[str, Any], seed: int | None, split_seeded: bool | None
) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN, **options)
    until(lambda: run.key in service.runs)

    assert service.runs[run.key].get("seed") == seed
    assert service.runs[run.key].get("split_seeded") is split_seeded


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({}, TypeError, id="no project"),
        pytest.param({"project": 3}, TypeError, id="project of the wrong type"),
        pytest.param({"project": "my project"}, ValueError, id="a space in the project"),
        pytest.param({"project": ".."}, ValueError, id="a path as project"),
        pytest.param({"project": "p", "colour": "red"}, TypeError, id="an unknown argument"),
        pytest.param({"project": "p", "config": 3}, TypeError, id="config of the wrong type"),
        pytest.param({"project": "p", "tags": "ab"}, TypeError, id="tags as text"),
        pytest.param({"project": "p", "seed": 1.5}, TypeError, id="half a seed"),
        pytest.param({"project": "p", "seed": True}, TypeError, id="a switch as seed"),
        pytest.param({"project": "p", "role": "boss"}, ValueError, id="an unknown role"),
        pytest.param({"project": "p", "mode": "onlin"}, ValueError, id="an unknown mode"),
        pytest.param({"project": "p", "role": "attach"}, TypeError, id="attach to nothing"),
        pytest.param({"project": "p", "url": "truerun.org"}, ValueError, id="no address"),
        pytest.param({"project": "p", "attempt_id": "first"}, ValueError, id="no uuid"),
    ],
)
def test_a_wrong_call_of_init_raises_and_starts_nothing(
    arguments: dict[str, Any], error: type[Exception], spool: Path
) -> None:
    with pytest.raises(error):
        truerun.init(**arguments)

    assert not spool.exists()


def test_attach_adds_evaluations_and_neither_attempt_nor_end(service: FakeService) -> None:
    run = truerun.init("burgers", run_key="unet-64", role="attach", url=service.url, token=PROJECT_TOKEN)

    verdict = run.log_evaluation("s", {"nrmse": 0.1})
    run.finish()

    assert service.runs["unet-64"]["role"] == "attach"
    assert "attempt_id" not in service.evaluations[str(verdict.evaluation)]
    assert service.patched == []


def test_attach_may_name_the_attempt_that_it_measured(service: FakeService) -> None:
    attempt = "0b3c0c9e-8f55-4d3a-9b0e-0d6f7c8a9b10"
    run = truerun.init(
        "burgers", run_key="k", role="attach", attempt_id=attempt, url=service.url, token=PROJECT_TOKEN
    )

    verdict = run.log_evaluation("s", {"nrmse": 0.1})

    assert service.evaluations[str(verdict.evaluation)]["attempt_id"] == attempt
    assert service.runs["k"]["attempt_id"] != attempt


def test_the_module_speaks_for_the_current_run(service: FakeService) -> None:
    run = truerun.init("burgers", config={"lr": 1e-3}, url=service.url, token=PROJECT_TOKEN)

    truerun.config.width = 64
    truerun.summary["best"] = 0.1
    verdict = truerun.log_evaluation("s", {"nrmse": 0.1})
    meter = truerun.evaluation("s")
    meter.update("nrmse", [0.1, 0.2])
    second = meter.submit()
    truerun.finish()

    assert truerun.run is run
    assert (verdict.gate, second.gate) == ("open", "open")
    assert service.runs[run.key]["config"] == {"lr": 1e-3, "width": 64}
    assert service.statuses == ["finished"]
    (stream,) = service.streams.values()
    assert [patch["values"] for patch in stream.others("summary")] == [{"best": 0.1}]


def test_no_module_hides_a_name_that_the_package_offers() -> None:
    modules = {module.name for module in pkgutil.iter_modules(truerun.__path__)}

    assert not modules & set(truerun.__all__)


def test_without_init_nothing_happens_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    meter = truerun.evaluation("s")
    meter.update("nrmse", [0.1])

    verdicts = [meter.submit(), truerun.log_evaluation("s", {"nrmse": 0.1})]
    truerun.config.lr = 3
    truerun.finish()

    assert {verdict.gate for verdict in verdicts} == {"unknown"}
    assert sum("init() was not called" in record.getMessage() for record in caplog.records) == 1


def test_offline_keeps_everything_and_says_where_once(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = truerun.init("burgers")

    began = time.monotonic()
    verdict = run.log_evaluation("s", {"nrmse": 0.1})
    run.log_evaluation("s", {"nrmse": 0.2})
    run.finish()

    assert time.monotonic() - began < 2
    (directory,) = spool.iterdir()
    assert verdict.gate == "unknown"
    assert f"truerun sync {directory}" in verdict.sentence
    assert len(list((directory / "evaluations").iterdir())) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"truerun: no address is set (TRUERUN_URL): the data stays in {directory}; send it with: truerun sync"
    ]


def test_off_does_nothing_at_all(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    run = truerun.init("burgers", mode="off")

    verdict = run.log_evaluation("s", {"nrmse": 0.1})
    run.finish()

    assert verdict.gate == "unknown"
    assert not spool.exists()
    assert threading.active_count() == before
    assert caplog.records == []


def test_only_rank_0_writes(
    service: FakeService, spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RANK", "1")
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)

    verdict = run.log_evaluation("s", {"nrmse": 0.1})
    run.finish()

    assert (verdict.gate, run.is_muted) == ("unknown", True)
    assert "rank 1" in verdict.sentence
    assert service.requests == []
    assert not spool.exists()
    assert caplog.records == []


def test_rank_0_of_many_says_how_many_there_are(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")

    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)

    until(lambda: run.key in service.runs)
    assert service.runs[run.key]["environment"]["world_size"] == 8


def test_after_init_no_wrong_call_raises(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)
    untyped: Any = run

    meters = [untyped.evaluation(), untyped.evaluation(3), untyped.evaluation("s", purpose="maybe", colour=1)]
    verdicts = [
        untyped.log_evaluation(),
        untyped.log_evaluation("s", 0.1),
        untyped.log_evaluation("s", {"nrmse": "0.1"}),
        untyped.log_evaluation("s", {}),
        untyped.log_evaluation("s", {"nrmse": 0.1}, stated={"colour": 1}),
        untyped.log_evaluation("s", {"nrmse": 0.1}, timeout="soon"),
    ]
    for meter in meters:
        meter.update("nrmse", [0.1])
        verdicts.append(meter.submit())
    untyped.finish(colour="red")

    assert {verdict.gate for verdict in verdicts} == {"unknown"}
    assert not any(verdict.is_open for verdict in verdicts)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(set(messages)) > 0


def test_strict_raises_what_would_be_told(service: FakeService) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN, strict=True)
    service.faults["evaluation"].append(problem(422, "no such metric"))

    with pytest.raises(NotDelivered, match="no such metric"):
        run.log_evaluation("s", {"nrmse": 0.1})
    with pytest.raises(ValueError, match="holds no number"):
        run.log_evaluation("s", {})
    with pytest.raises(TypeError):
        run.log_evaluation("s", {"nrmse": 0.1}, colour="red")  # type: ignore[call-arg]
    service.always["evaluation"] = problem(503, "starting")
    with pytest.raises(NotDelivered, match="starting"):
        run.log_evaluation("s", {"nrmse": 0.1}, timeout=0.3)


def test_a_finished_run_takes_nothing_more(service: FakeService) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)
    run.finish()
    run.finish()

    verdict = run.log_evaluation("s", {"nrmse": 0.1})

    assert verdict.gate == "unknown"
    assert "finished" in verdict.sentence
    assert service.statuses == ["finished"]


def test_a_block_that_raises_ends_the_run_as_failed_and_the_error_passes(service: FakeService) -> None:
    with pytest.raises(ZeroDivisionError), truerun.init("burgers", url=service.url, token=PROJECT_TOKEN):
        raise ZeroDivisionError

    assert service.statuses == ["failed"]


def test_how_a_run_ended_is_told_with_its_records_so_that_the_service_decides_for_which_attempt(
    service: FakeService,
) -> None:
    run = truerun.init("burgers", run_key="resumed", url=service.url, token=PROJECT_TOKEN)
    run.finish("failed")

    assert (service.statuses, service.patched) == (["failed"], [])


def test_a_pickled_run_is_a_muted_proxy(service: FakeService) -> None:
    run = truerun.init("burgers", config={"lr": 1e-3}, url=service.url, token=PROJECT_TOKEN)
    meter = run.evaluation("s")

    twin = pickle.loads(pickle.dumps(run))

    assert (twin.is_muted, twin.key, twin.config.lr) == (True, run.key, 1e-3)
    assert twin.log_evaluation("s", {"nrmse": 0.1}).gate == "unknown"
    assert copy.deepcopy(run) is run
    assert run.log_evaluation("s", {"nrmse": 0.1}).gate == "open"
    meter.update("nrmse", [0.1])
    assert len(service.evaluations) == 1


def test_hostile_numbers_and_names_travel_whole(service: FakeService) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)

    verdict = run.log_evaluation(
        "s",
        {"nrmse": float("nan")},
        {"<script>|\n::error::": {"nrmse": float("-inf"), "mae": 1e308}, "überall\ud800": {"nrmse": 0.1}},
        stated={"n": 3, "overall": {"nrmse": float("inf")}},
    )

    body = service.evaluations[str(verdict.evaluation)]
    values = {(value["metric"], value["group"]): value["value"] for value in body["values"]}
    assert values["nrmse", "overall"] == "NaN"
    assert values["nrmse", "<script>|\n::error::"] == "-Infinity"
    assert values["nrmse", "überall\ud800"] == 0.1
    assert body["stated"]["overall"]["nrmse"] == "Infinity"


def test_warnings_that_are_errors_do_not_reach_the_training(service: FakeService) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN)

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.handleError(record)

    handler = Broken()
    logging.getLogger("truerun").addHandler(handler)
    try:
        assert run.log_evaluation("s", {}).gate == "unknown"
    finally:
        logging.getLogger("truerun").removeHandler(handler)


def test_several_runs_live_side_by_side(service: FakeService) -> None:
    runs = [
        truerun.init("burgers", url=service.url, token=PROJECT_TOKEN, run_key=f"seed-{i}") for i in range(3)
    ]

    verdicts = [run.log_evaluation("s", {"nrmse": 0.1}) for run in runs]
    for run in runs:
        run.finish()

    assert {verdict.gate for verdict in verdicts} == {"open"}
    assert {
        request.path.split("/")[4] for request in service.requests if "/evaluations/" in request.path
    } == {
        "id-of-seed-0",
        "id-of-seed-1",
        "id-of-seed-2",
    }


def test_the_scripts_own_wandb_run_is_noted_once_it_is_there(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = truerun.init("burgers", run_key="beside", url=service.url, token=PROJECT_TOKEN)
    run.log_evaluation("s", {"nrmse": 0.1})
    assert "wandb" not in service.runs["beside"].get("environment", {})
    theirs = SimpleNamespace(id="3xk2", entity="team-a", project="flows", config={"secret": 1})
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=theirs))

    run.log_evaluation("s", {"nrmse": 0.1})

    until(lambda: "wandb" in service.runs["beside"]["environment"])
    noted = service.runs["beside"]["environment"]["wandb"]
    assert noted == {"id": "3xk2", "entity": "team-a", "project": "flows"}
    assert "hostname" in service.runs["beside"]["environment"]


@pytest.mark.parametrize(
    "module", [SimpleNamespace(), SimpleNamespace(run=None), SimpleNamespace(run=object()), None]
)
def test_a_wandb_without_a_run_is_no_wandb_run(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setitem(sys.modules, "wandb", module)

    assert wandb_run() is None
