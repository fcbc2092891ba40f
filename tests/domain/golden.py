"""Golden files: texts that people read, kept where a reviewer sees them change.

`TRUERUN_UPDATE_GOLDEN=1 pytest tests/domain` writes them anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_HERE = Path(__file__).parent / "golden"


def assert_golden(name: str, texts: Mapping[str, str]) -> None:
    """Compare `case: text` paragraphs with the golden file of that name."""
    path = _HERE / f"{name}.txt"
    found = "\n\n".join(f"[{case}]\n{text}" for case, text in texts.items()) + "\n"
    if os.environ.get("TRUERUN_UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")
