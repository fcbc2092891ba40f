"""Reads the small data files in `vectors/`; each begins with one comment line that names its source."""

from __future__ import annotations

import csv
from pathlib import Path

_HERE = Path(__file__).parent / "vectors"


def rows_of(name: str) -> list[dict[str, str]]:
    lines = (_HERE / name).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    return list(csv.DictReader(lines[1:]))
