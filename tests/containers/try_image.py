"""Try the image where no container engine is at hand: `python -m tests.containers.try_image` (root, debootstrap).

Each step of the Dockerfile runs in a bare Debian; then, with a network of its own, as the image's user, on a read-only
root and without any capability: migrate, token, serve, the HEALTHCHECK, a posted evaluation, worker, and SIGTERM.
`--base DIR` keeps the bare Debian there for the next time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.containers.bare_image import build, compressed_weight, make_base, weight
from tests.containers.dockerfile import ignore_patterns, read_dockerfile

ROOT = Path(__file__).parents[2]
INSIDE = "TRUERUN_TRY_IMAGE_INSIDE"


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--base", type=Path, help="where the bare Debian is, or shall be")
    reader.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    given = reader.parse_args()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        print("not tried: this needs root and debootstrap", file=sys.stderr)
        return 2
    if INSIDE not in os.environ:
        # Whatever is mounted from here on is seen by nobody else, and gone with us.
        again = [sys.executable, "-m", "tests.containers.try_image", *sys.argv[1:]]
        environ = {**os.environ, INSIDE: "1"}
        return subprocess.run(["unshare", "--mount", *again], env=environ, cwd=ROOT, check=False).returncode
    place = Path(tempfile.mkdtemp(prefix="truerun-image-"))
    # The user that runs Postgres passes through.
    place.chmod(0o711)
    try:
        return _try(place, base=given.base, arguments=dict(each.split("=", 1) for each in given.build_arg))
    finally:
        for root in place.glob("*-root"):
            subprocess.run(["umount", str(root)], check=False)
        shutil.rmtree(place)


def _try(place: Path, *, base: Path | None, arguments: dict[str, str]) -> int:
    base = base or place / "base"
    if not base.exists():
        half = base.with_name(base.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        make_base(half)
        half.rename(base)
    dockerfile = read_dockerfile((ROOT / "Dockerfile").read_text())
    ignored = ignore_patterns((ROOT / ".dockerignore").read_text())
    built = build(dockerfile, base=base, place=place, context=ROOT, ignored=ignored, arguments=arguments)
    image = built.layers[0]
    print(f"our layers: {weight(image) / 1e6:.1f} MB, {compressed_weight(image) / 1e6:.1f} MB gzipped")
    read_only = place / "image"
    read_only.mkdir()
    # An overlay without an upper layer cannot be written to.
    lower = ":".join(map(str, built.layers))
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}", str(read_only)], check=True
    )
    try:
        run = [sys.executable, "-m", "tests.containers.run_image", str(read_only), str(place)]
        return subprocess.run(["unshare", "--net", *run], cwd=ROOT, check=False).returncode
    finally:
        subprocess.run(["umount", str(read_only)], check=True)


if __name__ == "__main__":
    sys.exit(main())
