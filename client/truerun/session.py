"""Starting a run, the run that is current, and how all runs of the process end."""

from __future__ import annotations

import atexit
import functools
import operator
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar
from uuid import UUID, uuid4

from truerun.configuration import as_json, as_line, as_notes, config_values
from truerun.environment import environment_of_machine, source_of
from truerun.ids import new_id
from truerun.manners import Manners
from truerun.outlet import Delivery
from truerun.places import spool_root
from truerun.ranks import knows_no_others, rank, world_size
from truerun.record import MOST_TAGS, RunRecord
from truerun.resumption import key_of_job
from truerun.runs import EXIT_SECONDS, Run, muted_run, status_at_exit
from truerun.settings import MODES, Settings, find_settings, url_problem
from truerun.spool import Spool
from truerun.sync import deliver_leftovers, nothing_left
from truerun.transport import Transport

_KEY = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}")

P = ParamSpec("P")
R = TypeVar("R")

# Set by `truerun exec`, so that a script that calls `init()` itself goes on in the run that was made around it.
PROJECT_VARIABLE = "TRUERUN_PROJECT"
KEY_VARIABLE = "TRUERUN_RUN_KEY"
ATTEMPT_VARIABLE = "TRUERUN_ATTEMPT_ID"


@dataclass(slots=True)
class _Process:
    """What this process has started.

    Args:
        live: Runs that may still have something to send.
        is_hooked: Whether the interpreter calls us at its end and in forked children.
    """

    live: list[Run] = field(default_factory=list)
    current: Run | None = None
    is_hooked: bool = False


_process = _Process()


def init(
    project: str,
    name: str | None = None,
    config: Any = None,
    seed: int | None = None,
    split_seed: int | bool | None = None,
    run_group: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    *,
    run_key: str | None = None,
    attempt_id: str | UUID | None = None,
    role: Literal["train", "attach"] = "train",
    resume: Literal["auto"] | None = None,
    resume_step: int | None = None,
    ranks: Literal["all"] | None = None,
    mode: Literal["online", "offline", "off"] | None = None,
    strict: bool = False,
    url: str | None = None,
    token: str | None = None,
) -> Run:
    """Start a run and make it the current one; returns before anything was sent.

    Args:
        config: A mapping, a Namespace or a dataclass. A whole number named `seed` in it is the seed, if none
            is given.
        split_seed: The seed the data was split with; True or False when only known whether there was one.
        run_group: The set of runs (sweep, seeds) that this one belongs to.
        run_key: Unique in the project; by default a fresh one. The same key again is a further attempt of
            that run, which needs a token that may do so.
        attempt_id: With attach, the attempt that the evaluations belong to; by default the run's newest.
        resume: `auto` takes the run key from the scheduler's job (SLURM, torchrun, Kubernetes, Vast.ai, RunPod) and the
            script's path, so that a job that is started again goes on as the next attempt of its run.
        resume_step: The step that a further attempt goes on from; what earlier ones logged from there on is a branch
            that was left.
        ranks: `all` gives every process of a distributed job a stream of its own in the one run, told apart by its
            rank; without it only rank 0 records. All of them have to know the run key: by `run_key`, or by `resume`.
        role: `attach` adds evaluations to a run that another process trains, and nothing else.
        mode: online, offline (record for `truerun sync`) or off (do nothing); by default TRUERUN_MODE, else
            online if an address is known.
        strict: Raise instead of warning, everywhere; for tests.
        url, token: By default TRUERUN_URL and TRUERUN_TOKEN, else the server running on this machine.

    Raises:
        TypeError: An argument is of the wrong type, attach lacks its run_key, or the ranks lack a common one.
        ValueError: An argument has a value that can never work, such as a space in the project's key.
    """
    values = config_values(config)
    _check(
        project=project,
        name=name,
        notes=notes,
        run_group=run_group,
        run_key=run_key,
        role=role,
        mode=mode,
        url=url,
    )
    seed, split_seed = (
        _whole(seed, "seed"),
        split_seed if isinstance(split_seed, bool) else _whole(split_seed, "split_seed"),
    )
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError(f"tags must be a list of strings, not {tags!r}")
    if resume not in (None, "auto"):
        raise ValueError(f"resume can be 'auto', not {resume!r}")
    if ranks not in (None, "all"):
        raise ValueError(f"ranks can be 'all', not {ranks!r}")
    if resume == "auto" and run_key is None:
        run_key = key_of_job()
    if run_key is None and role == "train" and os.environ.get(PROJECT_VARIABLE) == project:
        run_key, attempt_id = _surrounding(attempt_id)
    if ranks == "all" and run_key is None and not knows_no_others():
        raise TypeError(
            "ranks='all' needs a run key that every rank knows: give run_key, or resume='auto' in a job whose "
            "scheduler names it (with torchrun: --rdzv-id)"
        )
    is_peer = ranks == "all" and role == "train" and rank() != 0
    if is_peer:
        role = "attach"
    given_attempt = None if attempt_id is None else str(UUID(str(attempt_id)))
    if seed is None and isinstance(values.get("seed"), int) and not isinstance(values.get("seed"), bool):
        seed = values["seed"]
    settings = find_settings(url=url, token=token, mode=mode)
    record = RunRecord(
        project=project,
        run_key=run_key or str(uuid4()),
        attempt_id=given_attempt if given_attempt and role == "train" else str(uuid4()),
        attached_attempt=given_attempt if role == "attach" else None,
        role=role,
        url=settings.url,
        mode=settings.mode,
        rank=rank() if ranks == "all" else 0,
        is_peer=is_peer,
        details={
            "name": as_line(name),
            "config": as_json(values),
            "run_group": as_line(run_group),
            "tags": [line for tag in list(tags)[:MOST_TAGS] if (line := as_line(tag))],
            "notes": as_notes(notes),
            "seed": seed,
            "resume_step": _whole(resume_step, "resume_step"),
            "split_seeded": None if split_seed is None else split_seed is not False,
            "environment": _split_seed(split_seed),
        },
    )
    _process.current = _started(record, values, settings, strict=strict)
    return _process.current


def _surrounding(attempt_id: str | UUID | None) -> tuple[str | None, str | UUID | None]:
    """The run and the attempt that this process is started in; what is given otherwise stays."""
    key, attempt = os.environ.get(KEY_VARIABLE), os.environ.get(ATTEMPT_VARIABLE)
    if not key or not _KEY.fullmatch(key):
        return None, attempt_id
    try:
        return key, attempt_id or (UUID(attempt) if attempt else None)
    except ValueError:
        return key, attempt_id


def current_run() -> Run:
    """The run of the last `init()`; without one, a run that records nothing and says so once."""
    if _process.current is None:
        record = RunRecord(project="", run_key="none", attempt_id="", role="attach", url=None, mode="off")
        _process.current = muted_run(record, {}, "truerun.init() was not called in this process")
        Manners.say("truerun.init() was not called in this process, so nothing is recorded")
    return _process.current


def live_runs() -> list[Run]:
    """The runs of this process that record, and may still have something to send."""
    return [run for run in _process.live if not run.is_muted]


def _of_current(method: Callable[Concatenate[Run, P], R]) -> Callable[P, R]:
    """The method as a function on the current run."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(current_run(), *args, **kwargs)

    return call


evaluation = _of_current(Run.evaluation)
log = _of_current(Run.log)
log_groups = _of_current(Run.log_groups)
log_evaluation = _of_current(Run.log_evaluation)
alert = _of_current(Run.alert)
define_metric = _of_current(Run.define_metric)
log_image = _of_current(Run.log_image)
log_ttc = _of_current(Run.log_ttc)
stage = _of_current(Run.stage)
finish = _of_current(Run.finish)
watch = _of_current(Run.watch)


def _started(record: RunRecord, values: Mapping[str, Any], settings: Settings, *, strict: bool) -> Run:
    if settings.mode == "off":
        return muted_run(record, values, "mode is off", strict=strict)
    if rank() != record.rank:
        return muted_run(record, values, f"rank {rank()} is silent, rank 0 writes", strict=strict)
    manners = Manners(strict=strict)
    for complaint in settings.complaints:
        manners.complain("settings", complaint)
    spool = _make_spool(manners)
    transport = None
    leftovers: Generator[None, None, None] = nothing_left()
    if settings.mode == "online" and settings.url is not None:
        transport = Transport(settings.url, settings.token)
        if spool is not None:
            leftovers = deliver_leftovers(
                spool.directory.parent,
                Transport(settings.url, settings.token),
                record,
                manners,
                mine=spool.directory,
            )
    else:
        _say_where(spool, settings, manners)
    outlet = Delivery(
        record,
        spool=spool,
        transport=transport,
        manners=manners,
        # The run is described by whoever opens it.
        describe=dict if record.is_peer else _describer(),
        leftovers=leftovers,
    )
    run = Run(record, values, outlet, manners)
    try:
        outlet.start()
    except RuntimeError as error:
        manners.complain(
            "thread", f"no thread could be started, so nothing is sent before `truerun sync`: {error}"
        )
    _hook()
    _process.live = [other for other in _process.live if not other.is_delivered] + [run]
    return run


def _make_spool(manners: Manners) -> Spool | None:
    try:
        return Spool.create(spool_root(), new_id())
    except OSError as error:
        manners.complain("spool", f"no directory for unsent data, so a crash would lose it: {error}")
        return None


def _say_where(spool: Spool | None, settings: Settings, manners: Manners) -> None:
    if spool is None:
        return
    why = "no address is set (TRUERUN_URL)" if settings.url is None else "mode is offline"
    manners.complain("offline", f"{why}: the data stays in {spool.directory}; send it with: truerun sync")


def _describer() -> Callable[[], Mapping[str, Any]]:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    processes = world_size()
    try:
        working_directory: str | None = os.getcwd()
    except OSError:
        working_directory = None

    def describe() -> Mapping[str, Any]:
        source = source_of(script, working_directory)
        environment = environment_of_machine()
        if source["git_dirty"] is not None:
            environment["git_dirty"] = source["git_dirty"]
        if processes is not None and processes > 1:
            environment["world_size"] = processes
        return {"git_commit": source["git_commit"], "environment": environment}

    return describe


def _split_seed(split_seed: int | bool | None) -> dict[str, Any]:
    return {} if split_seed is None or isinstance(split_seed, bool) else {"split_seed": split_seed}


def _check(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    for name in ("project", "run_key"):
        if given[name] is not None and not _KEY.fullmatch(given[name]):
            raise ValueError(
                f"{name} {given[name]!r} may hold only letters, digits, '.', '_' and '-', 128 at most"
            )
    if given["project"] is None:
        raise TypeError("project must be a string, not None")
    if given["role"] not in ("train", "attach"):
        raise ValueError(f"role can be train or attach, not {given['role']!r}")
    if given["role"] == "attach" and given["run_key"] is None:
        raise TypeError("role='attach' needs the run_key of the run to attach to")
    if given["mode"] is not None and given["mode"] not in MODES:
        raise ValueError(f"mode can be {', '.join(MODES)}, not {given['mode']!r}")
    if given["url"] and (problem := url_problem(given["url"])):
        raise ValueError(f"url: {problem}")


def _whole(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} {number} does not fit into 64 bits")
    return number


def _hook() -> None:
    if not _process.is_hooked:
        _process.is_hooked = True
        atexit.register(_end_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_mute_child)


def _end_all() -> None:
    """At the interpreter's end: one deadline for all runs together."""
    deadline = time.monotonic() + EXIT_SECONDS
    for run in _process.live:
        run.finish(status_at_exit(), timeout=max(0.0, deadline - time.monotonic()))


def _mute_child() -> None:
    for run in _process.live:
        run.mute("this process was forked; call truerun.init() here to record")
    _process.live = []
