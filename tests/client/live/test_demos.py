"""The demo projects of published results, and what the service makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

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
