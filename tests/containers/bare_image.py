"""Build the Dockerfile's stages without an engine: each step in a bare root file system, as root, by chroot.

Every stage is an overlay over the one it comes from, as a builder's layers are, so what a step adds can be weighed.
Mounts belong to the calling process' mount namespace (see try_image.py), which the kernel takes away with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.containers.dockerfile import Dockerfile, Instruction, Stage, sent_files, substituted

BASE_PACKAGES = "python3,ca-certificates"
MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
# The machine's own way to the network, which an engine gives its containers likewise.
BORROWED = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IN_NAMESPACE = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'


@dataclass(slots=True, kw_only=True)
class Built:
    """A stage on disk.

    Args:
        layers: Its own layer first, then those below; `root` is all of them together.
        environ, workdir, user: As the instructions so far left them.
    """

    root: Path
    layers: list[Path]
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    workdir: str = "/"
    user: str = "0:0"
    added: list[tuple[str, int]] = field(default_factory=list)


def make_base(root: Path) -> None:
    """A Debian with Python and nothing else, where the official Python image would stand."""
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, str(root), MIRROR],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for name in BORROWED:
        if Path(name).exists():
            shutil.copyfile(name, root / name.removeprefix("/"))


def build(
    dockerfile: Dockerfile,
    *,
    base: Path,
    place: Path,
    context: Path,
    ignored: list[str],
    arguments: Mapping[str, str],
) -> Built:
    """Every stage in order; the last one."""
    stages: dict[str, Built] = {}
    for number, stage in enumerate(dockerfile.stages):
        built = _begin(stage, number, stages, base=base, place=place)
        for instruction in stage.instructions:
            _step(instruction, built, stages, context=context, ignored=ignored, arguments=arguments)
        stages[stage.name or str(number)] = built
    return list(stages.values())[-1]


def _begin(stage: Stage, number: int, stages: Mapping[str, Built], *, base: Path, place: Path) -> Built:
    parent = stages.get(stage.base)
    below = parent.layers if parent else [base]
    name = stage.name or str(number)
    upper, work, root = (place / f"{name}-{part}" for part in ("layer", "work", "root"))
    for path in (upper, work, root):
        path.mkdir()
    lower = ":".join(map(str, below))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    built = Built(root=root, layers=[upper, *below])
    if parent:
        built.environ, built.workdir = dict(parent.environ), parent.workdir
    here = "" if parent else " (here: a bare Debian)"
    print(f"FROM {stage.base}{here}" + (f" AS {stage.name}" if stage.name else ""), flush=True)
    return built


def _step(
    instruction: Instruction,
    built: Built,
    stages: Mapping[str, Built],
    *,
    context: Path,
    ignored: list[str],
    arguments: Mapping[str, str],
) -> None:
    before, began = weight(built.layers[0]), time.monotonic()
    match instruction.keyword:
        case "RUN":
            _run(instruction, built)
        case "COPY":
            _copy(instruction, built, stages, context=context, ignored=ignored)
        case "ENV":
            values = instruction.pairs.items()
            built.environ |= {name: substituted(value, built.environ) for name, value in values}
        case "ARG":
            given = {name: arguments.get(name, value) for name, value in instruction.pairs.items()}
            built.environ |= {name: value for name, value in given.items() if value}
        case "WORKDIR":
            built.workdir = instruction.text
            (built.root / instruction.text.removeprefix("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            built.user = instruction.text
        case "CMD" | "ENTRYPOINT" | "EXPOSE" | "HEALTHCHECK" | "LABEL" | "STOPSIGNAL":
            return
    if instruction.keyword in ("RUN", "COPY"):
        grown = weight(built.layers[0]) - before
        built.added.append((f"{instruction.keyword} {instruction.text}", grown))
        seconds = time.monotonic() - began
        print(
            f"  {grown / 1e6:+8.1f} MB {seconds:6.1f} s  {instruction.keyword} {instruction.text[:90]}",
            flush=True,
        )


def _run(instruction: Instruction, built: Built) -> None:
    enter = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        IN_NAMESPACE,
        str(built.root),
    ]
    shell = ["/bin/sh", "-c", 'cd "$0" && exec /bin/sh -c "$1"', built.workdir, instruction.text]
    bare = ["env", "-i", *(f"{name}={value}" for name, value in built.environ.items()), "HOME=/root"]
    if built.user != "0:0":
        raise ValueError("a RUN after USER is not tried here")
    subprocess.run([*enter, *bare, *shell], check=True)


def _copy(
    instruction: Instruction, built: Built, stages: Mapping[str, Built], *, context: Path, ignored: list[str]
) -> None:
    *sources, target = instruction.words
    into = built.root / os.path.join(built.workdir, target).removeprefix("/")
    if stage := instruction.flags.get("from"):
        into.mkdir(parents=True, exist_ok=True)
        for source in sources:
            subprocess.run(["cp", "-a", f"{stages[stage].root}{source}/.", str(into)], check=True)
        return
    files = sent_files(context, ignored)
    for source in sources:
        below = source.rstrip("/")
        # A directory's content goes into the target, a file goes there under its own name.
        found = {
            name: into / name.removeprefix(f"{below}/") for name in files if name.startswith(f"{below}/")
        }
        found |= {name: into / Path(name).name for name in files if name == below}
        if not found:
            raise FileNotFoundError(f"COPY {source}: the builder is not sent anything of that name")
        for name, path in found.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / name, path)


def weight(root: Path) -> int:
    """Bytes of the files below a directory, each link of a file counted once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


def compressed_weight(root: Path) -> int:
    """Bytes of a layer as a registry keeps it: a tar through gzip."""
    tar = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    with subprocess.Popen(["gzip"], stdin=tar.stdout, stdout=subprocess.PIPE) as gzip:
        assert gzip.stdout is not None
        total = 0
        while chunk := gzip.stdout.read(1 << 20):
            total += len(chunk)
    if tar.wait() != 0:
        raise RuntimeError("tar failed")
    return total
