"""The half of a run that takes numbers while it trains: points, groups, alerts and its summary."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from typing import Any

from truerun.arrays import samples_of
from truerun.configuration import as_json
from truerun.images import LONGEST_CAPTION, MOST_IMAGES, picture_of
from truerun.manners import Manners, Polite, WrongCall, guarded, nothing
from truerun.outlet import Outlet
from truerun.points import Keys
from truerun.readings import LONGEST_NAME, Reader
from truerun.recorder import Late, Recorder
from truerun.stages import StagePassage
from truerun.summaries import RunSummary
from truerun.tensors import Several
from truerun.watched import Watch

# Splits whose records stand at the training's own steps; an evaluation may count epochs.
_TRAINING = ("", "train")

_MOST_CANDIDATES = 4096


def _no_stage(run: Polite, error: BaseException) -> StagePassage:  # noqa: ARG001 - as every fallback has it
    return StagePassage("", {}, enter=lambda _name, _marks: "", leave=lambda _outer, _marks: None)


class Logged:
    """What `Run` records of its training; nothing in here raises unless the run is strict.

    Attributes:
        key: What the run is called on the service.
        summary: What stands for the run in lists, readable and writable by item.
        is_muted: Whether it records nothing, because it is another rank's, a forked child's or a pickled copy.
    """

    def __init__(self, key: str, outlet: Outlet, manners: Manners) -> None:
        self.key = key
        self.manners = manners
        self._outlet = outlet
        self._is_finished = False
        self._reader = Reader()
        self._watches: list[Watch] = []
        self._stage = ""
        self._images = 0
        self.summary = RunSummary(self._patch_summary)

    @property
    def is_muted(self) -> bool:
        return self._outlet.muted_because is not None

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked the training to end; it decides itself."""
        recorder = self._outlet.recorder
        return recorder is not None and recorder.feed.stop_requested

    @guarded(nothing)
    def log(
        self,
        values: Mapping[str, Any],
        step: int | None = None,
        *,
        stage: str = "",
        split: str = "",
        commit: bool | None = None,  # noqa: ARG002 - as W&B has it; every call is a record of its own here
    ) -> None:
        """Record numbers; returns at once, whatever the service and the disk do.

        Args:
            values: By name; nested mappings become `outer/inner`. Python and numpy scalars, tensors without dimensions
                on any device, which are not waited for. NaN and ±∞ are values. What is no number is dropped and
                counted.
            step: Of the training; the one after the last where it is not given.
            stage, split: Dimensions, such as `operator` and `val`; the stage of `with run.stage(…)` by default.
        """
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("log")
            return
        where = stage or self._stage
        plain = self._reader.plain(values, where, split)
        if plain is not None and (step is None or type(step) is int):
            recorder.put_point(plain[0], plain[1], step)
        else:
            keys, numbers, late, dropped = self._reader.read(values, _dimension(where), _dimension(split))
            self._record_point(recorder, keys, numbers, step, late, dropped)
        if self._watches and not stage and split in _TRAINING:
            self._record_watched(recorder)

    @guarded(nothing)
    def log_groups(
        self,
        groups: Mapping[str, Mapping[str, Any]],
        step: int | None = None,
        *,
        stage: str = "",
        split: str = "",
    ) -> None:
        """Record numbers by group: `{"k=4,m=2": {"log2_mse": 0.31}}`."""
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("log_groups")
            return
        stage = stage or self._stage
        names: list[tuple[str, str]] = []
        numbers: list[float] = []
        lates: list[tuple[int, Late]] = []
        dropped: dict[str, int] = {}
        for group, values in groups.items():
            keys, found, late, lost = self._reader.read(
                values, _dimension(stage), _dimension(split), group=_group(group)
            )
            if late is not None:
                lates.append((len(numbers), late))
            names += keys.names
            numbers += found
            for why, count in lost.items():
                dropped[why] = dropped.get(why, 0) + count
        keys = Keys(_dimension(stage), _dimension(split), tuple(names))
        late = Several(lates) if lates else None
        self._record_point(recorder, keys, tuple(numbers), step, late, dropped)

    @guarded(_no_stage)
    def stage(self, name: str, *, loss: str = "loss", epoch: str = "epoch") -> StagePassage:
        """`with run.stage("operator"):` marks a stage of the training; what is logged in it carries its name.

        Args:
            name: Of the stage; passing through the same one again adds to it.
            loss, epoch: The metrics that the table of stages takes final and best loss and the epochs from.
        """
        if not name:
            raise WrongCall("stage", "a stage has a name")
        return StagePassage(
            _dimension(name),
            {"loss": _dimension(loss), "epoch": _dimension(epoch)},
            enter=self._enter_stage,
            leave=self._leave_stage,
        )

    @guarded(nothing)
    def log_ttc(self, step: int, rewards: Any, chosen: int) -> None:
        """Record a step of test-time compute: the candidates' rewards, and which of them was taken.

        Args:
            rewards: Shape (candidates,), 4,096 at most: a list, an array, or a tensor, which is waited for.
            chosen: The index of the one that was taken, from 0.
        """
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("log_ttc")
            return
        numbers = [float(reward) for reward in samples_of(rewards)]
        taken = _step(chosen)
        if len(numbers) > _MOST_CANDIDATES:
            raise WrongCall(
                "rewards", f"{len(numbers)} rewards; {_MOST_CANDIDATES} at most are kept of a step"
            )
        if taken is None or not 0 <= taken < len(numbers):
            raise WrongCall("chosen", f"chosen {chosen!r} names none of {len(numbers)} candidates, from 0")
        where = _step(step)
        if where is None:
            raise WrongCall("step", "log_ttc() needs a step")
        recorder.put_other(
            {"type": "ttc", "time": time.time(), "step": where, "rewards": numbers, "chosen": taken}
        )

    @guarded(nothing)
    def log_image(self, name: str, image: Any, step: int | None = None, *, caption: str = "") -> None:
        """Record an image, such as a spectrum or a heatmap; 50 a run, 1 MiB each.

        Args:
            name: What it shows; images of one name are the same thing at several steps.
            image: PNG or JPEG bytes or the path of such a file, which is read now; a PIL image; or an array of uint8,
                shape (H, W), (H, W, 3) or (H, W, 4), 8 MiB at most, which is copied now and packed as PNG later, by a
                thread of our own.
            step: Of the training; the last one logged where it is not given.
        """
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("log_image")
            return
        if not isinstance(name, str) or not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise WrongCall("image_name", f"an image's name is a short printable text, not {name!r:.80}")
        if self._images >= MOST_IMAGES:
            raise WrongCall("images", f"a run keeps {MOST_IMAGES} images, and this one has logged as many")
        where = _step(step)
        picture = picture_of(image)
        self._images += 1
        recorder.put_image(
            {
                "type": "image",
                "time": time.time(),
                "step": recorder.last_step if where is None else where,
                "name": name,
                "caption": str(caption)[:LONGEST_CAPTION],
            },
            picture,
        )

    @guarded(nothing)
    def watch(self, model: Any, optimizer: Any = None, *, every: int = 100, prefix: str = "watch") -> None:
        """Record how the training fares, read at the optimizer's steps without waiting for a device.

        Of the parameters that belong to the model and to the optimizer: `grad_norm`, the gradient's Euclidean norm as
        the step gets it (unscaled, after clipping and accumulation); `nonfinite`, `zero_grad` and `no_grad`, how many
        parameters have a gradient with NaN or ±∞ in it, of nothing but zeros, or none; `update_ratio`, the norm of the
        step's change by the norm of the weights (of a sample, where they are more than 4 million numbers); and
        `lr/<group>`. They stand at the step of the next call of `log` without a stage or a split but `train`, the
        newest only.

        Args:
            model: A module of torch, or a list of several.
            optimizer: The one that trains it; a list, or a mapping of names to optimizers, whose names follow the
                prefix; by default any that holds one of the model's parameters.
            every: Of how many of the optimizer's steps one is read; the first is. Another costs about a microsecond.
            prefix: Of the metrics' names. The same again replaces the watch that had it.
        """
        if self._outlet.recorder is None or self._is_finished:
            self._ignored("watch")
            return
        watch = Watch(model, optimizer, every=every, prefix=prefix, manners=self.manners)
        for replaced in [each for each in self._watches if each.prefix == prefix]:
            self._watches.remove(replaced)
            replaced.stop()
        self._watches.append(watch)

    @guarded(nothing)
    def alert(self, title: str, text: str = "", level: str = "info", wait_duration: Any = None) -> None:  # noqa: ARG002 - as W&B has it
        """Let a person see something: it reaches the inbox and whatever the project sends alerts to.

        Args:
            level: info, warn or error; W&B's names in capitals are understood.
        """
        levels = {"info": "info", "warn": "warn", "warning": "warn", "error": "error"}
        known = levels.get(str(getattr(level, "value", level)).lower())
        if known is None:
            raise WrongCall("level", f"level can be info, warn or error, not {level!r}")
        self._tell("alert", known, str(title), {"text": str(text)})

    def define_metric(self, *_args: Any, **_kwargs: Any) -> None:
        """Taken as W&B has it; steps and summaries need no definition here, which is said once."""
        self.manners.complain(
            "define_metric", "define_metric() changes nothing: every metric keeps first, last, min and max"
        )

    def _record_point(
        self,
        recorder: Recorder,
        keys: Keys,
        numbers: tuple[float, ...],
        step: Any,
        late: Late | None,
        dropped: Mapping[str, int],
    ) -> None:
        for why, count in dropped.items():
            recorder.dropped[why] += count
        if dropped:
            self.manners.complain(
                "dropped", f"log() dropped values that are no numbers or have no usable name: {dict(dropped)}"
            )
        if numbers:
            recorder.put_point(keys, numbers, _step(step), late)

    def _record_watched(self, recorder: Recorder) -> None:
        """Record what was read since the last time at the step of the last record."""
        step = recorder.last_step
        if step is None:
            return
        for watch in self._watches:
            for taken in watch.take():
                recorder.put_point(taken.keys, taken.numbers, step, taken.late)

    @guarded(nothing)
    def _end_watches(self) -> None:
        recorder = self._outlet.recorder
        if recorder is not None:
            self._record_watched(recorder)
        for watch in self._watches:
            watch.stop()
        self._watches = []

    def _tell(self, kind: str, level: str, title: str, detail: Mapping[str, Any]) -> None:
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored(kind)
            return
        recorder.put_other(
            {
                "type": "event",
                "time": time.time(),
                "step": None,
                "kind": kind,
                "level": level,
                "title": title[:4096],
                "detail": as_json(dict(detail)),
            }
        )

    @guarded(lambda _run, _error: "")
    def _enter_stage(self, name: str, marks: Mapping[str, Any]) -> str:
        outer, self._stage = self._stage, name
        self._tell("stage_began", "info", name, marks)
        return outer

    @guarded(nothing)
    def _leave_stage(self, outer: str, marks: Mapping[str, Any]) -> None:
        self._stage = outer
        self._tell("stage_ended", "info", str(marks["stage"]), marks)

    def _patch_summary(self, values: Mapping[str, Any]) -> None:
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("summary")
            return
        recorder.put_other({"type": "summary", "values": as_json(dict(values))})

    def _ignored(self, what: str) -> None:
        if not self.is_muted:
            self.manners.complain("finished", f"{what}() after the end of run {self.key} is ignored")


def _step(step: Any) -> int | None:
    if step is None:
        return None
    if isinstance(step, bool):
        raise WrongCall("step", f"step must be a whole number, not {step!r}")
    try:
        number = operator.index(step)
    except TypeError:
        raise WrongCall("step", f"step must be a whole number, not {type(step).__name__}") from None
    if not -(2**63) <= number < 2**63:
        raise WrongCall("step", f"step {number} does not fit into 64 bits")
    return number


def _dimension(text: Any) -> str:
    if not isinstance(text, str) or len(text) > LONGEST_NAME or not (text.isprintable() or not text):
        raise WrongCall("dimension", f"stage and split are short printable texts, not {text!r:.80}")
    return text


def _group(name: Any) -> str:
    text = str(name)
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise WrongCall("group_name", f"a group's name is a short printable text, not {name!r:.80}")
    return text
