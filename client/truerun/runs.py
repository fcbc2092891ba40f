"""A run as the training script holds it."""

from __future__ import annotations

import operator
import sys
import time
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from truerun import verdict as verdicts
from truerun.configuration import Config, as_json
from truerun.manners import Manners, Polite, WrongCall, guarded, nothing
from truerun.meter import Meter, Receipt
from truerun.outlet import Muted, Outlet
from truerun.points import Keys
from truerun.posting import (
    Cell,
    GroupSpecs,
    Heading,
    MetricSpecs,
    TierSpecs,
    cells_of,
    heading,
    loss_document,
    posting_document,
    stated_document,
)
from truerun.readings import LONGEST_NAME, Reader
from truerun.record import RunRecord
from truerun.recorder import Late, Recorder
from truerun.redaction import redacted
from truerun.summary import RunSummary
from truerun.tensors import Several
from truerun.verdict import Verdict

EXIT_SECONDS = 5.0


def _deaf_meter(run: Polite, error: BaseException) -> Meter:
    outlet = Muted(f"the evaluation was begun wrongly: {error}")
    return Meter(Heading(suite=""), lambda *_: outlet.post({}), run.manners, is_muted=lambda: True)


class Run:
    """Made by `truerun.init()`. Its methods never raise, unless the run was started with strict=True.

    Attributes:
        project, key: What the run is called on the service; the key is unique in its project.
        config: The configuration, readable and writable by item and by attribute.
        is_muted: Whether it records nothing, because it is another rank's, a forked child's or a pickled
            copy.
    """

    def __init__(
        self, record: RunRecord, config: Mapping[str, Any], outlet: Outlet, manners: Manners
    ) -> None:
        self.manners = manners
        self.project = record.project
        self.key = record.run_key
        self.attempt_id = record.attempt_id
        self.name: str | None = record.details.get("name")
        self.config = Config(config, self._note_config)
        self._record = record
        self._outlet = outlet
        self._is_finished = False
        self._reader = Reader()
        self.summary = RunSummary(self._patch_summary)

    @property
    def is_muted(self) -> bool:
        return self._outlet.muted_because is not None

    @property
    def is_delivered(self) -> bool:
        """Whether the run is finished and nothing of it is left to send."""
        return self._is_finished and self._outlet.is_drained

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
            stage, split: Dimensions, such as `operator` and `val`.
        """
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("log")
            return
        plain = self._reader.plain(values, stage, split)
        if plain is not None and (step is None or type(step) is int):
            recorder.put_point(plain[0], plain[1], step)
            return
        keys, numbers, late, dropped = self._reader.read(values, _dimension(stage), _dimension(split))
        self._record_point(recorder, keys, numbers, step, late, dropped)

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

    def _patch_summary(self, values: Mapping[str, Any]) -> None:
        recorder = self._outlet.recorder
        if recorder is None or self._is_finished:
            self._ignored("summary")
            return
        recorder.put_other({"type": "summary", "values": as_json(dict(values))})

    def _ignored(self, what: str) -> None:
        if not self.is_muted:
            self.manners.complain("finished", f"{what}() after the end of run {self.key} is ignored")

    @guarded(_deaf_meter)
    def evaluation(
        self,
        suite: str,
        stage: str = "final",
        metrics: MetricSpecs | None = None,
        step: int | None = None,
        purpose: Literal["candidate", "progress"] = "candidate",
        *,
        groups: GroupSpecs | None = None,
        tiers: TierSpecs | None = None,
        dataset: str | None = None,
        dataset_version: str | None = None,
        split: str | None = None,
        protocol: str | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Meter:
        """Begin an evaluation; feed the meter that is returned, then `submit()` it.

        Args:
            suite: What makes evaluations comparable. It need not exist: then `metrics`, `groups`, `tiers`,
                `dataset`, `dataset_version`, `split` and `protocol` define it; later they change nothing.
            metrics: By name: `"lower"`, `"higher"`, `"limit"`, or a mapping with direction, role, pooling,
                unit, ….
            purpose: `candidate` is a claim that is listed, alerts and may be promoted; `progress` is neither.
            groups: Names in order, or mappings with name, tier, weight, definition and label.
            tiers: Tier to its groups, or group to its tier.
        """
        about = {"dataset": dataset, "dataset_version": dataset_version, "split": split, "protocol": protocol}
        head = heading(
            suite,
            stage=stage,
            metrics=metrics,
            step=step,
            purpose=purpose,
            groups=groups,
            tiers=tiers,
            about=about,
            info=info,
        )
        return Meter(head, self._post, self.manners, is_muted=lambda: self.is_muted)

    @guarded(lambda _self, error: verdicts.unknown(f"the evaluation could not be recorded: {error}"))
    def log_evaluation(
        self,
        suite: str,
        values: Mapping[str, Any],
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        stated: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        metrics: MetricSpecs | None = None,
        stage: str = "final",
        step: int | None = None,
        purpose: Literal["candidate", "progress"] = "candidate",
        tiers: TierSpecs | None = None,
        dataset: str | None = None,
        dataset_version: str | None = None,
        split: str | None = None,
        protocol: str | None = None,
        info: Mapping[str, Any] | None = None,
        timeout: float = 30.0,
    ) -> Verdict:
        """Post numbers one already has.

        Args:
            values: Of the whole, by metric: a number, or `{"value": …, "n": …, "stderr": …, "bound": …}`.
            groups: The same by group; an entry `n` is the sample count of all its neighbours.
            stated: `{"n": …, "overall": {metric: value}}`, what the run itself believes; it is only
                reconciled.
            loss: train, val, total, parts and weights.
            timeout: Longest wait for the verdict in seconds; 0 returns at once.

        Returns:
            Always a verdict, as `Meter.submit` does.
        """
        head = heading(
            suite,
            stage=stage,
            metrics=metrics,
            step=step,
            purpose=purpose,
            groups=list(groups) if groups and tiers else None,
            tiers=tiers,
            about={
                "dataset": dataset,
                "dataset_version": dataset_version,
                "split": split,
                "protocol": protocol,
            },
            info=info,
        )
        receipt = self._post(
            head,
            cells_of(values, groups),
            stated_document(**dict(stated or {})),
            loss_document(**dict(loss or {})),
            {},
        )
        return receipt.wait(timeout)

    @guarded(nothing)
    def finish(
        self,
        status: Literal["finished", "failed", "preempted"] = "finished",
        timeout: float = EXIT_SECONDS,
        *,
        error: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        """End the run: deliver what can be delivered in time, and say where the rest lies.

        Args:
            timeout: Longest wait in seconds.
            error: Why it failed, in words; what looks like a secret is taken out.
        """
        if self._is_finished:
            return
        recorder = self._outlet.recorder
        if recorder is not None and self._record.role == "train":
            said = None if error is None else redacted(error)
            recorder.put_other(
                {
                    "type": "finish",
                    "time": time.time(),
                    "status": status,
                    "error": said,
                    "exit_code": exit_code,
                }
            )
        self._is_finished = True
        if self._record.role == "train":
            self._record.status = status
        left = self._outlet.close(timeout)
        if left:
            self.manners.say(left)

    def mute(self, because: str) -> None:
        """Record nothing from now on, and let go of what another process holds."""
        self._outlet.abandon()
        self._outlet = Muted(because)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish("finished")
        else:
            self.finish("failed", error="".join(traceback.format_exception_only(kind, error)).strip())

    def __repr__(self) -> str:
        muted = f", muted: {self._outlet.muted_because}" if self.is_muted else ""
        return f"<Run {self.key} of project {self.project}{muted}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process must not write under this one's name.
        return (_muted_copy, (self.project, self.key, self.name, dict(self.config)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self

    def __copy__(self) -> Run:
        return self

    def _post(
        self,
        head: Heading,
        cells: list[Cell],
        stated: Mapping[str, Any],
        loss: Mapping[str, Any],
        remarks: Mapping[str, Any],
    ) -> Receipt:
        if self._is_finished and not self.is_muted:
            raise WrongCall("finished", f"run {self.key} is finished; start another with truerun.init()")
        if not cells and not self.is_muted:
            raise WrongCall("empty", f"the evaluation on {head.suite} holds no number, so nothing was posted")
        attempt_id = (
            self._record.attempt_id if self._record.role == "train" else self._record.attached_attempt
        )
        document = posting_document(
            head, cells, stated=stated, loss=loss, info=remarks, attempt_id=attempt_id
        )
        if "info" in document:
            document["info"] = as_json(document["info"])
        return self._outlet.post(document)

    def _note_config(self) -> None:
        if self.is_muted or self._is_finished:
            return
        self._record.change(config=as_json(dict(self.config)))
        self._outlet.nudge()


def muted_run(record: RunRecord, config: Mapping[str, Any], because: str, *, strict: bool = False) -> Run:
    """A run that takes everything and records nothing."""
    return Run(record, config, Muted(because), Manners(strict=strict))


def _muted_copy(project: str, key: str, name: str | None, config: Mapping[str, Any]) -> Run:
    record = RunRecord(
        project=project,
        run_key=key,
        attempt_id="",
        role="attach",
        url=None,
        mode="off",
        details={"name": name},
    )
    return muted_run(record, config, "this is a copy of a run that another process holds")


def status_at_exit() -> Literal["finished", "failed"]:
    """How a script ended that never said so: the interpreter notes the exception that killed it."""
    # In an interactive session that is merely the last exception somebody saw.
    return (
        "failed" if getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1") else "finished"
    )


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
