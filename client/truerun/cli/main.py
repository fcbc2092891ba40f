"""From arguments to an exit code."""

from __future__ import annotations

import os
import sys
import traceback

from truerun.cli.exits import CRASH, INTERRUPTED, CommandError
from truerun.cli.output import Output
from truerun.cli.parser import parse
from truerun.cli.service import Service
from truerun.settings import find_settings


def main(argv: list[str] | None = None) -> int:
    """Run one command. Only an open gate, or a command that did its work, makes 0."""
    out = Output(as_json=False)
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        out = Output(as_json=args.json)
        service = Service(find_settings(url=args.url, token=args.token, mode=None))
        try:
            code: int = args.call(args, service, out)
        finally:
            service.close()
        sys.stdout.flush()
        return code
    except CommandError as error:
        out.note("\n".join([f"truerun: {error.message}", *(f"  - {reason}" for reason in error.reasons)]))
        return error.code
    except SystemExit as ending:
        # argparse ends this way after --help.
        return ending.code if isinstance(ending.code, int) else CRASH
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has gone; what they missed must not read as an open gate.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CRASH
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, it is no open gate
        if os.environ.get("TRUERUN_DEBUG"):
            traceback.print_exc()
        out.note(f"truerun: crashed: {type(error).__name__}: {error} (TRUERUN_DEBUG=1 shows where)")
        return CRASH
