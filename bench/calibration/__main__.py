"""`make calibrate`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.calibration.page import page

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


def main() -> int:
    text = page()
    PAGE.write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
