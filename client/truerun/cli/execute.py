"""`truerun exec -- python train.py`: a run around a command that knows nothing of Truerun."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO, Any, Literal

from truerun.cli.exits import UsageError
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.redaction import redacted
from truerun.runs import Run
from truerun.session import ATTEMPT_VARIABLE, KEY_VARIABLE, PROJECT_VARIABLE, init

NOT_FOUND = 127
_BY_SIGNAL = 128
_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def execute(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Exit with the command's own code; 128 + n when signal n ended it, 127 when there is no such command."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise UsageError("say what to run: truerun exec -- python train.py")
    project = args.project or os.environ.get(PROJECT_VARIABLE)
    if not project:
        raise UsageError(f"a run needs a project: --project KEY, or {PROJECT_VARIABLE}")
    if shutil.which(command[0]) is None:
        out.note(f"truerun: there is no command {command[0]!r}")
        return NOT_FOUND
    run = init(
        project,
        name=args.name,
        run_key=args.run_key,
        run_group=args.run_group,
        tags=args.tag,
        url=service.settings.url,
        token=service.settings.token,
    )
    # What was given on the command line holds for the command, too.
    reached = {"TRUERUN_URL": service.settings.url, "TRUERUN_TOKEN": service.settings.token}
    environ = {
        **os.environ,
        **{variable: known for variable, known in reached.items() if known},
        PROJECT_VARIABLE: project,
        KEY_VARIABLE: run.key,
        ATTEMPT_VARIABLE: run.attempt_id,
    }
    lines: deque[str] = deque(maxlen=args.tail or 1)
    code, was_asked = _run(command, environ, lines if args.tail else None)
    _finish(run, code, was_asked=was_asked, said=list(lines) if args.tail else [])
    return code if code >= 0 else _BY_SIGNAL - code


def _finish(run: Run, code: int, *, was_asked: bool, said: list[str]) -> None:
    status: Literal["finished", "failed", "preempted"] = "finished"
    error = None
    if code:
        # Asked to end and ended: that is how a rented machine is taken away, and no fault of the training.
        status = "preempted" if was_asked else "failed"
        error = f"ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if said:
            error = redacted("\n".join([error, "", *said]))
    run.finish(status, error=error, exit_code=code if code >= 0 else _BY_SIGNAL - code)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _run(command: list[str], environ: dict[str, str], lines: deque[str] | None) -> tuple[int, bool]:
    """(the command's return code, negative for a signal; whether we were asked to end it)."""
    pipe = None if lines is None else subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe) as child:
        with _forwarding(child) as asked:
            readers = []
            if lines is not None:
                for source, target in ((child.stdout, sys.stdout), (child.stderr, sys.stderr)):
                    reader = threading.Thread(target=_copy, args=(source, target, lines), daemon=True)
                    reader.start()
                    readers.append(reader)
            code = child.wait()
            for reader in readers:
                # A grandchild may hold the pipe open for ever; what it still says is not ours to wait for.
                reader.join(1.0)
        return code, bool(asked)


@contextlib.contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Signals that come meanwhile go to the command; those that ask for the end are noted."""
    asked: list[int] = []

    def forward(number: int, _frame: Any) -> None:
        if number in (signal.SIGTERM, signal.SIGHUP):
            asked.append(number)
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before: dict[int, Any] = {number: signal.signal(number, forward) for number in numbers}
    # Ctrl-C reaches the command by itself, as a process of the same terminal; we wait for what it makes of it.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: asked.append(signal.SIGINT))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy(source: IO[bytes] | None, target: Any, lines: deque[str]) -> None:
    if source is None:
        return
    for line in iter(source.readline, b""):
        lines.append(line.decode("utf-8", "replace").rstrip("\n")[:2000])
        try:
            target.buffer.write(line)
            target.buffer.flush()
        except OSError:
            # Whoever reads has gone. The command must not wait for ever for a pipe that nobody empties.
            os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
