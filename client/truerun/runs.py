"""A run as the training script holds it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from truerun import verdict as verdicts
from truerun.configuration import Config, as_json
from truerun.environment import wandb_run
from truerun.logged import Logged
from truerun.manners import Manners, Polite, WrongCall, guarded, nothing
from truerun.meter import Meter, Receipt
from truerun.outlet import Muted, Outlet
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
from truerun.record import RunRecord
from truerun.redaction import redacted
from truerun.verdict import Verdict

EXIT_SECONDS = 5.0


def _deaf_meter(run: Polite, error: BaseException) -> Meter:
    outlet = Muted(f"the evaluation was begun wrongly: {error}")
    return Meter(Heading(suite=""), lambda *_: outlet.post({}), run.manners, is_muted=lambda: True)


class Run(Logged):
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
        super().__init__(record.run_key, outlet, manners)
        self.project = record.project
        self.attempt_id = record.attempt_id
        self.name: str | None = record.details.get("name")
        self.config = Config(config, self._note_config)
        self._record = record

    @property
    def is_delivered(self) -> bool:
        """Whether the run is finished and nothing of it is left to send."""
        return self._is_finished and self._outlet.is_drained

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
        self._end_watches()
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
        for watch in self._watches:
            watch.abandon()

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
        self._note_wandb()
        attempt_id = (
            self._record.attempt_id if self._record.role == "train" else self._record.attached_attempt
        )
        document = posting_document(
            head, cells, stated=stated, loss=loss, info=remarks, attempt_id=attempt_id
        )
        if "info" in document:
            document["info"] = as_json(document["info"])
        return self._outlet.post(document)

    def _note_wandb(self) -> None:
        """A script starts its W&B run when it likes; by its first evaluation it has."""
        noted = wandb_run()
        known = self._record.details.get("environment", {})
        if noted is not None and noted != known.get("wandb") and not self.is_muted:
            self._record.change(environment={**known, "wandb": noted})
            self._outlet.nudge()

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
