"""docs/operations says what is there: every setting with its default, every metric, every cause of a refusal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.api.metrics import RequestMetrics, StateGauges
from app.api.seats import Seats
from app.db.faults import Fault
from app.settings import Settings
from app.worker.metrics import WorkerMetrics

ROOT = Path(__file__).parents[1]
RUNNING = (ROOT / "docs/operations/running.md").read_text(encoding="utf-8")
INDEX = (ROOT / "docs/operations/README.md").read_text(encoding="utf-8")


def settings_rows() -> list[str]:
    rows = []
    for name, field in Settings.model_fields.items():
        variable = "DATABASE_URL" if name == "database_url" else f"TRUERUN_{name.upper()}"
        default = "–" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return rows


def metrics_rows() -> list[str]:
    registry = CollectorRegistry()
    RequestMetrics(registry)
    StateGauges(registry, seats=Seats(1, wait_seconds=1), version="1")
    rows = []
    for of, each in (("API", registry), ("worker", WorkerMetrics().registry)):
        for metric in each.collect():
            name = metric.name + ("_total" if metric.type == "counter" else "")
            rows.append(f"| `{name}` | {of} | {metric.type}: {metric.documentation} |")
    return rows


def table(title: str) -> list[str]:
    """The rows of the first table under that heading."""
    section = RUNNING.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(
    ("title", "rows"),
    [("Settings", settings_rows()), ("Metrics", metrics_rows())],
    ids=["settings", "metrics"],
)
def test_the_table_is_what_the_code_has(title: str, rows: list[str]) -> None:
    assert table(title) == rows


def test_every_setting_and_metric_that_the_pages_name_exists() -> None:
    settings = {row.split("`")[1] for row in settings_rows()}
    metrics = {row.split("`")[1] for row in metrics_rows()}
    text = RUNNING + INDEX

    named_settings = set(re.findall(r"\bTRUERUN_[A-Z_]+", text))
    named_metrics = set(re.findall(r"\btruerun_[a-z_]+", text))

    assert named_settings <= settings
    assert {re.sub("_bucket$", "", name) for name in named_metrics} <= metrics


def test_every_cause_of_a_refusal_is_explained() -> None:
    limits = RUNNING.partition("\n## Limits, and what they answer\n")[2]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app/api").glob("*.py"))
    causes = {fault.value for fault in Fault}
    causes |= set(re.findall(r'cause="(\w+)"', source)) | set(re.findall(r'\["refused"\] = "(\w+)"', source))

    assert {"busy", "rate", "stopping"} <= causes
    assert sorted(cause for cause in causes if f"`{cause}`" not in limits) == []
