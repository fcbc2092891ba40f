"""The demo projects of published results, and what the service makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from app.worker.main import run
from tests.client.live.conftest import Live
from truerun.cli.service import Service
from truerun.demo import tabular, the_well
from truerun.settings import find_settings


@pytest.fixture
def service(live: Live) -> Iterator[Service]:
    service = Service(find_settings(url=live.url, token=live.token, mode=None))
    yield service
    service.close()


@pytest.fixture
def worker(live: Live) -> Iterator[None]:
    """Judges again in the background."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: run(live.database_url, stop=stop))
    thread.start()
    yield
    stop.set()
    thread.join(30)


class Broken(Exception):
    """The demo was stopped."""


class BreaksOff(Service):
    """Lets so many writes through, then fails after the next one has arrived."""

    def __init__(self, service: Service, *, after: int) -> None:
        super().__init__(service.settings)
        self.left = after

    def send(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        answer = super().send(*arguments, **options)
        if self.left == 0:
            raise Broken
        self.left -= 1
        return answer


def posted(service: Service, project: str, suite: str) -> Mapping[str, Any]:
    """How many evaluations each run has, and the champion's events."""
    runs = service.items(f"/projects/{project}/runs")
    return {
        "evaluations": {
            run["key"]: len(service.items(f"/runs/{run['run_id']}/evaluations", {"suite": suite}))
            for run in runs
        },
        "attempts": {run["attempt"] for run in runs},
        "events": [
            event["kind"] for event in service.items(f"/projects/{project}/suites/{suite}/baseline/events")
        ],
    }


def test_the_well_improves_the_mean_and_hides_five_datasets(service: Service) -> None:
    assert the_well.load(service)

    line = the_well.line(service)

    assert (
        "from 0.3565 to 0.2203 over 15 of 17 datasets. The gate is closed: 5 are more than 10 % worse" in line
    )
    for hidden in ("helmholtz", "convective", "planetswe", "shear_flow", "gray_scott"):
        assert hidden in line
    assert not the_well.load(service)

    evaluations = the_well.evaluations_of(service, the_well.PROJECT, the_well.SUITE, the_well.CANDIDATE)
    verdict = service.get(f"/evaluations/{evaluations[0]['evaluation']}")
    macro = next(each for each in verdict["aggregates"] if each["name"] == "macro")
    assert macro["left_out"] == {
        "post_neutron_star_merger": "missing_group",
        "rayleigh_taylor_instability": "censored",
    }
    bounds = {each["group"]: each["bound"] for each in verdict["values"]}
    assert bounds["rayleigh_taylor_instability"] == "at_least"
    assert "post_neutron_star_merger" not in bounds


def test_only_the_seeds_tell_catboost_from_tabr(service: Service, worker: None) -> None:
    assert tabular.load(service)

    line = tabular.line(service)

    assert line.startswith("one seed of CatBoost against one of TabR: open. 15 seeds against 15: closed")
    assert "rmse in california is 7.4 % worse" in line
    assert not tabular.load(service)
    evaluations = tabular.evaluations_of(service, tabular.PROJECT, tabular.SUITE, "mlp-3")
    verdict = service.get(f"/evaluations/{evaluations[0]['evaluation']}")
    judged = {(each["metric"], each["group"]) for each in verdict["checks"] if each["rule"] == "regression"}
    assert judged == {(metric, name) for name, metric in tabular.METRICS.items()}


def test_tfno_hides_three_of_sixteen_datasets(service: Service) -> None:
    the_well.load(service)

    evaluations = the_well.evaluations_of(service, the_well.PROJECT, the_well.SUITE, "tfno")
    verdict = service.get(f"/evaluations/{evaluations[0]['evaluation']}")

    judged = [
        check
        for check in verdict["checks"]
        if check["rule"] == "regression" and check["outcome"] != "not_evaluated"
    ]
    regressed = {check["group"] for check in judged if check["outcome"] == "regressed"}
    assert regressed == {
        "gray_scott_reaction_diffusion",
        "helmholtz_staircase",
        "turbulence_gravity_cooling",
    }
    assert len(judged) == 16
    assert verdict["gate"] == "closed"


@pytest.mark.parametrize("writes", [0, 2, 4, 6])
def test_a_demo_that_was_broken_off_goes_on_where_it_was(service: Service, writes: int) -> None:
    with closing(BreaksOff(service, after=writes)) as broken, pytest.raises(Broken):
        the_well.load(broken)

    the_well.load(service)

    assert posted(service, the_well.PROJECT, the_well.SUITE) == {
        "evaluations": dict.fromkeys(("cnextu-net", "u-net", "tfno", "fno"), 1),
        "attempts": {1},
        "events": ["bootstrap"],
    }
