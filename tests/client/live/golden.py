"""What commands print, as it was agreed."""

from __future__ import annotations

import os
import re
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> None:
    """Compare with what was agreed, but for ids and times."""
    plain = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", text)
    plain = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d[\d:.+Z]*", "<time>", plain)
    plain = re.sub(r"trn_[a-z0-9]{8}", "<token>", plain)
    file = GOLDEN / name
    if os.environ.get("TRUERUN_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(plain, encoding="utf-8")
    assert plain == file.read_text(encoding="utf-8")
