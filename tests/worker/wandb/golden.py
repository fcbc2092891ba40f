"""Golden jobs: what people will see at W&B, kept where a reviewer sees it change.

`TRUERUN_UPDATE_GOLDEN=1 pytest tests/worker/wandb/test_contents.py` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from app.worker.wandb_jobs.job import Job, to_document

_HERE = Path(__file__).parent / "golden"


def assert_golden(name: str, job: Job) -> None:
    path = _HERE / f"{name}.txt"
    found = shown(job)
    if os.environ.get("TRUERUN_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def shown(job: Job) -> str:
    """One line for each row, point and key, so that a difference is one line."""
    document = to_document(job)
    lines = [
        f"{key}: {_text(document[key])}" for key in ("run_id", "rev", "name", "job_type", "group", "tags")
    ]
    for part in ("config", "scalars"):
        lines += ["", f"[{part}]", *(f"{key}: {_text(value)}" for key, value in document[part].items())]
    for table in job.tables:
        columns = [f"{name} ({kind.value})" for name, kind in zip(table.columns, table.kinds, strict=True)]
        rows = [" | ".join(_text(cell) for cell in row) for row in table.rows]
        lines += ["", f"[table {table.name}, {table.total} rows]", " | ".join(columns), *rows]
    for part in ("bars", "lines", "histograms", "alerts"):
        lines += [line for each in document[part] for line in ("", f"[{part}]", *_fields(each))]
    return "\n".join(lines) + "\n"


def _fields(each: dict[str, object]) -> list[str]:
    return [f"{key}: {_text(value)}" for key, value in each.items()]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
