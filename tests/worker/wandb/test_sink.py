"""From an evaluation in our database to what the W&B server holds, over the real outbox and the real wandb."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.db import Session, locks, runs, session_factory
from app.db.projects import ProjectRow
from app.domain.alerts import AlertKind, Level
from app.services.run_alerts import raise_alert
from app.worker.sinks import Delivered, Paused, Refused
from app.worker.wandb_jobs.runner import Runner
from app.worker.wandb_jobs.values import run_id
from app.worker.wandb_sink import WandbSink
from tests.services.claims import BAD, GOOD, a_project_with_champion, posted
from tests.services.world import NOW, World, a_run
from tests.worker.owed import a_sink, claim
from tests.worker.wandb.standin import KEY, Standin


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project_with_champion(world, "first")


def mirrored(world: World, where: ProjectRow, standin: Standin, **settings: str) -> None:
    a_sink(
        world,
        where.id,
        "mirror",
        kind="wandb",
        **{"base_url": standin.url, **settings},
    )


def a_mirror(world: World, runner: Runner, **environ: str) -> WandbSink:
    return WandbSink(
        session_factory(world.engine),
        runner,
        address="https://truerun.example",
        environ={"WANDB_API_KEY": KEY, **environ},
    )


def alerted(session: Session, run_id: UUID) -> None:
    """As the training itself says it."""
    run = runs.by_id(session, run_id)
    assert run is not None
    raise_alert(
        session,
        run,
        about="loss",
        kind=AlertKind.RUN,
        level=Level.WARN,
        title="second: the loss is NaN",
        text="at step 7",
        now=NOW,
    )


@pytest.mark.parametrize("entity", ["team", ""], ids=["named", "the key's own"])
def test_a_regression_is_held_by_the_server_with_tables_board_and_alert(
    world: World, project: ProjectRow, standin: Standin, runner: Runner, entity: str
) -> None:
    mirrored(world, project, standin, project="flows", **({"entity": entity} if entity else {}))
    second = a_run(world, "second", config={"lr": 3e-4}).run_id
    evaluation_id = posted(world, second, BAD)
    sink = a_mirror(world, runner)

    receipts = {message.topic: sink.deliver(message) for message in claim(world, kinds=("wandb",))}

    assert set(receipts) == {"evaluation.judged", "leaderboard.changed", "alert.changed"}
    judged = receipts["evaluation.judged"]
    assert judged is not None
    assert f"{standin.url}/team/flows/runs/eval-{evaluation_id}" in (judged.receipt or "")
    held = standin.run(f"eval-{evaluation_id}")
    rows = held.table("regression/comparison")["data"]
    hard = next(row for row in rows if row[2] == "hard")
    assert (hard[0], hard[3], hard[4], hard[5]) == ("regressed", 0.4, 0.8, "100 % worse")
    assert held.values()["source"] == "https://truerun.example/projects/burgers/runs/second"
    assert held.values()["baseline"] == "first (version 1)"
    board = standin.run("leaderboard-burgers").table("leaderboard/full_table")
    runs = [row[board["columns"].index("Run")] for row in board["data"]]
    assert runs == ["first", "second"]
    summary = standin.run(run_id("training-summary", str(second)))
    assert ["lr", "0.0003"] in summary.table("training_summary/configuration")["data"]
    assert [alert["title"] for alert in standin.held.alerts] == ["second: 1 of 3 groups regressed (heights)"]


def test_without_its_key_the_sink_pauses_and_asks_nobody(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    mirrored(world, project, standin, project="flows")
    posted(world, a_run(world, "second").run_id, BAD)
    (message, *_) = claim(world, kinds=("wandb",))

    with pytest.raises(Paused, match="WANDB_API_KEY is not set"):
        a_mirror(world, runner, WANDB_API_KEY="").deliver(message)

    assert standin.asked == []


def test_a_server_that_is_not_allowed_gets_no_key(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    mirrored(world, project, standin, project="flows", base_url="https://elsewhere.example")
    posted(world, a_run(world, "second").run_id, BAD)
    (message, *_) = claim(world, kinds=("wandb",))

    with pytest.raises(Exception, match="TRUERUN_WANDB_BASE_URLS"):
        a_mirror(world, runner).deliver(message)


def test_a_run_that_another_worker_writes_waits(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    mirrored(world, project, standin, project="flows")
    posted(world, a_run(world, "second").run_id, BAD)
    message = next(each for each in claim(world, kinds=("wandb",)) if each.topic == "leaderboard.changed")
    where = f"{standin.url.partition('://')[2]}//flows/leaderboard-burgers"

    with locks.alone(session_factory(world.engine), locks.key_of("wandb", where)) as is_held:
        assert is_held
        with pytest.raises(ConnectionError, match="another worker"):
            a_mirror(world, runner).deliver(message)

    assert standin.asked == []
    assert isinstance(a_mirror(world, runner).deliver(message), Delivered)


def test_an_alert_is_told_though_a_later_message_wrote_the_run_before(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    mirrored(world, project, standin, project="flows")
    run = a_run(world, "second").run_id
    world.run(lambda session: alerted(session, run))
    posted(world, run, GOOD)
    owed = {each.topic: each for each in claim(world, kinds=("wandb",))}
    assert owed["alert.changed"].id < owed["evaluation.judged"].id
    sink = a_mirror(world, runner)

    sink.deliver(owed["evaluation.judged"])
    sink.deliver(owed["alert.changed"])

    assert [alert["title"] for alert in standin.held.alerts] == ["second: the loss is NaN"]
    # The data were there already.
    assert len(standin.run(run_id("training-summary", str(run))).rows) == 1


def test_what_w_and_b_has_from_later_than_ours_is_no_delivery(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    mirrored(world, project, standin, project="flows")
    posted(world, a_run(world, "second").run_id, BAD)
    message = next(each for each in claim(world, kinds=("wandb",)) if each.topic == "leaderboard.changed")
    sink = a_mirror(world, runner)
    assert isinstance(sink.deliver(message), Delivered)
    held = standin.run("leaderboard-burgers")
    held.summary["mirror/rev"] += 3_600_000

    with pytest.raises(ConnectionError, match="newer"):
        sink.deliver(message)

    assert len(held.rows) == 1


def test_disabled_is_delivered_and_offline_keeps_the_run_with_the_command_to_bring_it(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    mirrored(world, project, standin, project="flows", mode="offline")
    posted(world, a_run(world, "second").run_id, BAD)
    message = next(each for each in claim(world, kinds=("wandb",)) if each.topic == "leaderboard.changed")

    kept = a_mirror(world, runner, WANDB_API_KEY="").deliver(message)

    assert kept is not None
    assert "wandb sync" in (kept.receipt or "")
    assert standin.asked == []


def test_settings_of_another_kind_are_refused_for_good(
    world: World, project: ProjectRow, standin: Standin, runner: Runner
) -> None:
    a_sink(world, project.id, "mirror", kind="wandb", mode="online")
    posted(world, a_run(world, "second").run_id, BAD)
    (message, *_) = claim(world, kinds=("wandb",))

    with pytest.raises(Refused, match="project"):
        a_mirror(world, runner).deliver(message)
