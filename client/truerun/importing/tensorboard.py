"""Runs in a directory of TensorBoard: every folder that holds event files is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from truerun.importing.event_files import Damaged, Event, EventFile
from truerun.importing.past import PastRun, Restart, Row, SourceError, Tally

_MARK = "tfevents"


class LogDirectory:
    """What `tensorboard --logdir` would show.

    Args:
        called: What its runs are named after; the directory's name where not given.
    """

    def __init__(self, root: Path, *, called: str | None = None) -> None:
        if not root.is_dir():
            raise SourceError(f"{root} is no directory")
        self.name = str(root)
        self.tally = Tally()
        self._root = root
        self._called = called or root.resolve().name or "logs"

    def close(self) -> None:
        """Files are open only while they are read."""

    def runs(self) -> Iterator[PastRun]:
        found = False
        for folder, _, names in sorted(os.walk(self._root, followlinks=True)):
            # By name, which begins with the second in which the file was made.
            files = [Path(folder) / name for name in sorted(names) if _MARK in name]
            if files:
                found = True
                yield self._run(Path(folder), files)
        if not found:
            raise SourceError(f"{self._root} holds no event file (*{_MARK}*)")

    def _run(self, folder: Path, files: list[Path]) -> PastRun:
        path = folder.relative_to(self._root).as_posix()
        own = [] if path == "." else [path]
        return PastRun(
            # The first file's name carries its second, its host and its process: a run of the same name that began
            # another time is another run.
            identity=("tensorboard", self._called, *own, files[0].name),
            label=("tensorboard", self._called, *own),
            stamp=" ".join(f"{file.name}:{file.stat().st_size}" for file in files),
            name="/".join([self._called, *own]),
            config=_hparams(files),
            run_group=self._called if own else None,
            rows=lambda tally: _rows(files, tally),
            about={"files": [file.name for file in files]},
        )


def _hparams(files: list[Path]) -> dict[str, Any]:
    """Hyperparameters stand before the first number, or nowhere."""
    for file in files:
        try:
            for event in EventFile(file).events():
                if event.hparams:
                    return event.hparams
                if event.scalars:
                    break
        except Damaged:
            # The reading of its rows tells of it.
            continue
    return {}


def _rows(files: list[Path], tally: Tally) -> Iterator[Row | Restart]:
    plugins: dict[str, str] = {}
    last = _Last()
    for file in files:
        step = _goes_back(file, last, plugins)
        if step is not None:
            yield Restart(step)
            last.forget(step)
        try:
            for event in EventFile(file, plugins).events():
                if event.restarts and last.reached(event.step):
                    yield Restart(event.step)
                    last.forget(event.step)
                for kind, count in event.others.items():
                    tally.leave(kind, count)
                if event.scalars:
                    last.take(event)
                    yield Row(event.step, event.time, event.scalars)
        except Damaged as damaged:
            # As TensorBoard does: what came before the damage counts.
            tally.leave("damaged", problem=str(damaged))


class _Last:
    """How far each metric has come."""

    def __init__(self) -> None:
        self.time = 0.0
        self._steps: dict[str, int] = {}

    def take(self, event: Event) -> None:
        self.time = max(self.time, event.time)
        for tag in event.scalars:
            self._steps[tag] = max(event.step, self._steps.get(tag, event.step))

    def reached(self, step: int) -> bool:
        return any(last >= step for last in self._steps.values())

    def step_of(self, tag: str) -> int | None:
        return self._steps.get(tag)

    def forget(self, step: int) -> None:
        """What was logged from `step` on was left behind."""
        self._steps = {tag: min(last, step - 1) for tag, last in self._steps.items()}


def _goes_back(file: Path, last: _Last, plugins: dict[str, str]) -> int | None:
    """The step that a file goes back to, where it tells of a training that was started again; else None.

    It does when it was begun after everything before it was written, and the first metric that is known already does
    not go on from where it was. Two writers that share a folder at the same time overlap, and mean no restart.
    """
    try:
        for event in EventFile(file, dict(plugins)).events():
            if event.restarts:
                return None
            for tag in event.scalars:
                known = last.step_of(tag)
                if known is not None:
                    return event.step if event.step <= known and event.time >= last.time else None
    except Damaged:
        return None
    return None
